"""The span of a call, as OpenTelemetry's conventions for RPC have it."""

import asyncio
import time

import pytest
from lumni.chat.v1 import chat_pb2
from lumni.classifier.v1 import classifier_pb2 as pb
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from prometheus_client import REGISTRY

from services.chassis import errors, rpc
from tests.chassis.test_rpc import NAME, PLAIN, REQUEST, Script, served

METHOD = f"{NAME}/Classify"
OF_CALLERS = [
    (errors.Invalid("no"), "INVALID_ARGUMENT"),
    (errors.Unauthenticated("no"), "UNAUTHENTICATED"),
    (errors.Forbidden("no"), "PERMISSION_DENIED"),
    (errors.NotFound("no"), "NOT_FOUND"),
    (errors.Conflict("no"), "ALREADY_EXISTS"),
    (errors.Exhausted("no"), "RESOURCE_EXHAUSTED"),
]
OF_THE_SERVER = [
    (errors.Unavailable("down"), "UNAVAILABLE"),
    (errors.TimedOut("late"), "DEADLINE_EXCEEDED"),
    (errors.Internal("odd"), "INTERNAL"),
]


async def span_of_a_call(spans: InMemorySpanExporter, fault: errors.Fault | None) -> ReadableSpan:
    """The span of a call that a fault ends, or nothing; one that may be repeated has several, and this is the last."""
    async with served(Script(fault=fault)) as stub:
        if fault is None:
            await rpc.call(stub.Classify, REQUEST, PLAIN, timeout_s=5)
        else:
            with pytest.raises(type(fault)):
                await rpc.call(stub.Classify, REQUEST, PLAIN, timeout_s=5)
    return spans.get_finished_spans()[-1]


def item_of_a_batch(spans: InMemorySpanExporter, fault: errors.Fault) -> ReadableSpan:
    rpc.record_item("Classify", chat_pb2.RequestContext(request_id="r"), time.time_ns(), fault)
    return spans.get_finished_spans()[-1]


async def test_a_good_call(spans: InMemorySpanExporter) -> None:
    span = await span_of_a_call(spans, None)

    assert (METHOD, SpanKind.SERVER, StatusCode.UNSET) == (span.name, span.kind, span.status.status_code)
    assert {
        "rpc.system.name": "grpc",
        "rpc.method": METHOD,
        "rpc.response.status_code": "OK",
    } == span.attributes
    # It is an example of how long such a call takes.
    assert span.context is not None
    assert f"{span.context.trace_id:032x}" in {
        sample.exemplar.labels["trace_id"]
        for family in REGISTRY.collect()
        if family.name == "lumni_rpc_duration_seconds"
        for sample in family.samples
        if sample.exemplar is not None and sample.labels["method"] == METHOD
    }


@pytest.mark.parametrize(("fault", "code"), OF_CALLERS)
async def test_a_call_that_is_refused_is_no_error_of_the_server(
    spans: InMemorySpanExporter, fault: errors.Fault, code: str
) -> None:
    span = await span_of_a_call(spans, fault)

    assert StatusCode.UNSET is span.status.status_code
    assert {
        "rpc.system.name": "grpc",
        "rpc.method": METHOD,
        "rpc.response.status_code": code,
    } == span.attributes
    assert StatusCode.UNSET is item_of_a_batch(spans, fault).status.status_code


@pytest.mark.parametrize(("fault", "code"), OF_THE_SERVER)
async def test_a_call_that_fails_is_an_error_by_its_status(
    spans: InMemorySpanExporter, fault: errors.Fault, code: str
) -> None:
    span = await span_of_a_call(spans, fault)

    assert StatusCode.ERROR is span.status.status_code
    # No message: it could hold what a caller wrote.
    assert not span.status.description
    assert {
        "rpc.system.name": "grpc",
        "rpc.method": METHOD,
        "rpc.response.status_code": code,
        "error.type": code,
    } == span.attributes
    item = item_of_a_batch(spans, fault)
    assert (StatusCode.ERROR, {"error.type": fault.reason}) == (item.status.status_code, item.attributes)


async def test_what_the_caller_gives_up_is_no_error_of_the_server(spans: InMemorySpanExporter) -> None:
    script = Script(gate=asyncio.Event())
    async with served(script) as stub:
        calling = asyncio.ensure_future(stub.Classify(pb.ClassifyRequest(), timeout=60))
        await script.arrived.wait()
        calling.cancel()
        async with asyncio.timeout(60):
            while not spans.get_finished_spans():
                await asyncio.sleep(0.01)
    (span,) = spans.get_finished_spans()

    assert StatusCode.UNSET is span.status.status_code
    assert span.attributes is not None
    assert "CANCELLED" == span.attributes["rpc.response.status_code"]
