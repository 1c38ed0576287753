"""Spans reach their destinations; a slow, frozen or absent one holds nobody up, and every lost span is counted."""

import asyncio
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind
from portkey_ai import AsyncPortkey as AsyncSdk
from portkey_ai import Portkey as Sdk
from portkey_ai.api_resources import exceptions

from services.chassis import span_export
from services.chassis.config import Mistakes, from_environ
from services.chassis.span_export import DROPPED_SPANS, MOST_WAITING, Settings
from services.local.ports import free as free_port
from tests import portkey
from tests.otlp import Collector, collecting
from tests.portkey import Portkey

KEY = "pk-test"
MORE = MOST_WAITING + 3000
# Made once: it reads what is installed, and each attempt here has a provider of its own.
RESOURCE = Resource.create()


class Frozen(SpanExporter):
    """Delivers nothing until it is told to."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.delivered = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.released.wait()
        self.delivered += len(spans)
        return SpanExportResult.SUCCESS


def dropped(destination: str) -> float:
    return float(DROPPED_SPANS.labels(destination)._value.get())


def end_spans(processor: Any, count: int) -> list[str]:
    """End so many spans, and return their traces' ids."""
    provider = TracerProvider(shutdown_on_exit=False, active_span_processor=processor)
    tracer = provider.get_tracer("test")
    found = []
    for _ in range(count):
        with tracer.start_as_current_span("one") as span:
            found.append(f"{span.get_span_context().trace_id:032x}")
    return found


def test_spans_beyond_the_bound_are_dropped_and_counted_and_the_others_arrive_later() -> None:
    frozen = Frozen()
    with span_export.exporting([("frozen", frozen)]) as spans:
        # Each returned, although none was delivered.
        end_spans(spans, MORE)
        assert (0, MORE - MOST_WAITING) == (frozen.delivered, dropped("frozen"))
        frozen.released.set()

    assert MOST_WAITING == frozen.delivered
    assert MORE - MOST_WAITING == dropped("frozen")


def test_a_slow_destination_makes_room_again() -> None:
    frozen = Frozen()
    with span_export.exporting([("slow", frozen)]) as spans:
        end_spans(spans, MOST_WAITING)
        frozen.released.set()
        while frozen.delivered < MOST_WAITING:
            spans.force_flush(1000)
        end_spans(spans, MOST_WAITING)

    assert (2 * MOST_WAITING, 0) == (frozen.delivered, dropped("slow"))


def test_a_frozen_destination_does_not_hold_the_end_of_a_process() -> None:
    frozen = Frozen()
    try:
        with span_export.exporting([("stuck", frozen)]) as spans:
            end_spans(spans, 1)
        assert not frozen.released.is_set()
        assert 0 == frozen.delivered
    finally:
        frozen.released.set()


def test_spans_for_a_collector_that_is_gone_are_all_counted() -> None:
    gone = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}"}
    ((_, exporter),) = span_export.exporters(from_environ(Settings, gone))
    batches = span_export.BoundedBatches(exporter, "gone")
    try:
        end_spans(batches, 30)
        batches.force_flush()
        assert 30 == dropped("gone")
    finally:
        batches.shutdown()


@contextmanager
def collecting_by_grpc() -> Iterator[Collector]:
    class Servicer(trace_service_pb2_grpc.TraceServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:
            collector.add(request)
            return trace_service_pb2.ExportTraceServiceResponse()

    server = grpc.server(ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Servicer(), server)  # type: ignore[no-untyped-call]
    collector = Collector(f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
    server.start()
    try:
        yield collector
    finally:
        server.stop(None).wait()


@pytest.mark.parametrize(
    ("protocol", "server"), [("grpc", collecting_by_grpc), ("http/protobuf", collecting)]
)
def test_spans_reach_a_collector_by_either_protocol(protocol: str, server: Any) -> None:
    with server() as collector:
        environ = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.address,
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        }
        with span_export.exporting(list(span_export.exporters(from_environ(Settings, environ)))) as spans:
            (ident,) = end_spans(spans, 1)
            assert ["one"] == [span.name for span in collector.wait_for_names(ident, {"one"})]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf or grpc"), ("LUMNI_PORTKEY_FORMAT", "otlp or logs")],
)
def test_a_protocol_that_is_not_spoken_is_refused(name: str, expected: str) -> None:
    with pytest.raises(Mistakes, match=f"{name}: expected {expected}"):
        from_environ(Settings, {name: "thrift"})


@pytest.fixture
def fake() -> Iterator[Portkey]:
    with portkey.serving(KEY) as one:
        yield one


def to_portkey(fake: Portkey, form: str, key: str = KEY) -> span_export.BoundedBatches:
    environ = {
        "PORTKEY_API_KEY": key,
        "LUMNI_PORTKEY_FORMAT": form,
        "LUMNI_PORTKEY_LOGS": f"{fake.address}/v1/logs",
        "LUMNI_PORTKEY_OTLP": f"{fake.address}/v1/otel/v1/traces",
    }
    ((_, exporter),) = span_export.exporters(from_environ(Settings, environ))
    return span_export.BoundedBatches(exporter, "portkey")


def end_attempt(processor: Any, **more: Any) -> str:
    """End the span of a request and of its attempt; return the trace's id."""
    provider = TracerProvider(shutdown_on_exit=False, active_span_processor=processor, resource=RESOURCE)
    tracer = provider.get_tracer("test")
    attributes = {
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "small",
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 30,
        "lumni.request_id": "r-1",
        "lumni.deployment": "small@openai",
        "lumni.cost_nano_usd": 13_200,
        "lumni.organization_id": "org-1",
        "lumni.metadata.feature": "search",
        "user.id": "user-1",
        **more,
    }
    with tracer.start_as_current_span("request") as request:
        with tracer.start_as_current_span("chat small", kind=SpanKind.CLIENT, attributes=attributes):
            return f"{request.get_span_context().trace_id:032x}"


def test_portkeys_logs_get_each_attempt_with_its_ids_user_tokens_and_cost(fake: Portkey) -> None:
    batches = to_portkey(fake, "logs")
    good = end_attempt(batches)
    bad = end_attempt(batches, **{"error.type": "server_error", "http.response.status_code": 503})
    batches.shutdown()

    first, second = fake.wait_for_logs(2)
    assert [good, bad] == [one["metadata"]["traceId"] for one in (first, second)]
    assert {
        "_user": "user-1",
        "organization": "org-1",
        "requestId": "r-1",
        "feature": "search",
        "costUsd": 0.0000132,
        "spanName": "chat small",
    }.items() <= first["metadata"].items()
    assert {"prompt_tokens": 12, "completion_tokens": 30, "total_tokens": 42} == first["response"]["body"][
        "usage"
    ]
    assert (200, 503) == (first["response"]["status"], second["response"]["status"])
    assert "server_error" == second["response"]["body"]["error"]["type"]


def test_portkeys_otlp_gets_all_spans_under_the_same_trace(fake: Portkey) -> None:
    batches = to_portkey(fake, "otlp")
    ident = end_attempt(batches)
    batches.shutdown()

    assert {"request", "chat small"} == {span.name for _, span in fake.spans.trace(ident)}


def test_portkey_is_not_shown_the_collectors_headers_nor_its_certificates(
    fake: Portkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer of-the-collector")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", "of-the-collector.pem")

    batches = to_portkey(fake, "otlp")
    ident = end_attempt(batches)
    batches.shutdown()

    assert fake.spans.trace(ident)
    assert all("of-the-collector" not in str(headers) for headers in fake.headers)
    assert os.environ["OTEL_EXPORTER_OTLP_HEADERS"]


class Raising(SpanExporter):
    """Fails in a way that no exporter should."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        raise KeyError("gen_ai.request.model")


def test_spans_that_an_exporter_cannot_read_are_counted() -> None:
    before = dropped("raising")
    with span_export.exporting([("raising", Raising())]) as spans:
        end_spans(spans, 2)

    assert before + 2 == dropped("raising")


def test_a_wrong_key_and_a_failing_portkey_are_counted_and_the_next_attempt_arrives(fake: Portkey) -> None:
    before = dropped("portkey")
    stranger = to_portkey(fake, "logs", key="pk-wrong")
    end_attempt(stranger)
    stranger.shutdown()
    # The span of the request around it is no entry, so it cannot be lost.
    assert (before + 1, 1) == (dropped("portkey"), fake.refused)

    batches = to_portkey(fake, "logs")
    for fault in (500, 429):
        fake.fault = fault
        end_attempt(batches)
        batches.force_flush()
    assert before + 3 == dropped("portkey")
    fake.fault = 0
    ident = end_attempt(batches)
    batches.shutdown()
    assert [ident] == [one["metadata"]["traceId"] for one in fake.logs]


def test_a_frozen_portkey_holds_nobody_up(fake: Portkey) -> None:
    fake.answers.clear()
    before = dropped("portkey")
    batches = to_portkey(fake, "logs")
    for _ in range(2 * MOST_WAITING):
        end_attempt(batches)
    assert before + MOST_WAITING <= dropped("portkey")
    fake.answers.set()
    batches.shutdown()


def test_the_official_sdk_finds_in_the_stand_in_what_it_expects_of_portkey(fake: Portkey) -> None:
    client = Sdk(api_key=KEY, base_url=f"{fake.address}/v1")
    entry = {"url": "https://api.openai.com/v1/chat/completions", "method": "post", "body": {"model": "m"}}
    client.logs.create(
        request=entry,
        response={"status": 200, "body": {"ok": True}, "response_time": 7},
        metadata={"traceId": "t-1"},
    )
    saved = client.feedback.create(trace_id="t-1", value=5, weight=0.5)

    assert [("t-1", "m")] == [
        (one["metadata"]["traceId"], one["request"]["body"]["model"]) for one in fake.logs
    ]
    assert [("t-1", 5)] == [(one["trace_id"], one["value"]) for one in fake.feedback]
    assert 1 == len(saved.feedback_ids or ())


SDK_CALLS = pytest.mark.parametrize(
    ("api", "said"),
    [
        ("logs", {"request": {"url": "u", "body": {}}, "response": {"status": 200, "body": {}}}),
        ("feedback", {"trace_id": "t-1", "value": 5, "weight": 0.5}),
    ],
)


@SDK_CALLS
@pytest.mark.parametrize(
    ("fault", "key", "expected"),
    [
        (500, KEY, exceptions.InternalServerError),
        (429, KEY, exceptions.RateLimitError),
        (0, "pk-wrong", exceptions.AuthenticationError),
    ],
)
def test_the_official_sdk_takes_the_stand_ins_faults_for_portkeys(
    fake: Portkey, api: str, said: dict[str, Any], fault: int, key: str, expected: type[Exception]
) -> None:
    fake.fault = fault
    with pytest.raises(expected):
        getattr(Sdk(api_key=key, base_url=f"{fake.address}/v1"), api).create(**said)
    assert ([], []) == (fake.logs, fake.feedback)

    fake.fault = 0
    getattr(Sdk(api_key=KEY, base_url=f"{fake.address}/v1"), api).create(**said)
    assert 1 == len(fake.logs) + len(fake.feedback)


@SDK_CALLS
async def test_the_official_sdk_waits_for_a_frozen_stand_in_until_its_caller_gives_up(
    fake: Portkey, api: str, said: dict[str, Any]
) -> None:
    client = AsyncSdk(api_key=KEY, base_url=f"{fake.address}/v1")
    fake.answers.clear()
    call = asyncio.create_task(getattr(client, api).create(**said))
    async with asyncio.timeout(60):
        while not fake.asked:
            await asyncio.sleep(0.01)
    assert not call.done()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    fake.answers.set()
    await getattr(client, api).create(**said)
    assert 1 <= len(fake.logs) + len(fake.feedback)
