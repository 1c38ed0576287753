"""One request is one trace, in the header, in every log, at the collector and at Portkey; and no secret in any."""

import asyncio
import json
from uuid import uuid4

import grpc
import httpx
import pytest
from lumni.gateway.v1 import gateway_pb2, gateway_pb2_grpc

from tests.flow.conftest import PORTKEY_KEY
from tests.flow.stack import ADMIN_KEY, API_KEY, Stack
from tests.otlp import Collector

pytestmark = pytest.mark.asyncio(loop_scope="session")
SERVICES = ("gateway", "classifier", "selector", "executor")
NAMES = {f"lumni-{name}" for name in SERVICES}
SECRET_TEXT = "canary-prompt-text"
REQUEST = {"model": "auto", "messages": [{"role": "user", "content": f"What is {SECRET_TEXT}?"}]}


@pytest.mark.arrangements
async def test_one_request_is_one_trace_everywhere(
    stack: Stack, http: httpx.AsyncClient, collector: Collector, portkey: Collector
) -> None:
    response = await http.post("/v1/chat/completions", json=REQUEST)
    trace_id, request_id = response.headers["x-lumni-trace-id"], response.headers["x-request-id"]

    for destination in (collector, portkey):
        spans = await asyncio.to_thread(destination.wait_for, trace_id, NAMES)
        by_id = {span.span_id: span for _, span in spans}
        roots = [span for _, span in spans if span.parent_span_id not in by_id]
        assert ["POST /v1/chat/completions"] == [span.name for span in roots]
    for name in SERVICES:
        lines = [
            json.loads(line) for line in stack.services[name].log.read_text().splitlines() if trace_id in line
        ]
        assert {request_id} == {line["request_id"] for line in lines}, name


async def test_a_callers_own_trace_is_continued(http: httpx.AsyncClient, collector: Collector) -> None:
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    parent = {"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"}
    response = await http.post("/v1/chat/completions", json=REQUEST, headers=parent)

    assert response.headers["x-lumni-trace-id"] == trace_id
    await asyncio.to_thread(collector.wait_for, trace_id, NAMES)


@pytest.mark.parametrize("surface", ["REST", "gRPC"])
async def test_flags_of_a_callers_trace_hide_no_span(
    stack: Stack, http: httpx.AsyncClient, collector: Collector, surface: str
) -> None:
    trace_id = uuid4().hex
    # 00: "not sampled".
    parent = {"traceparent": f"00-{trace_id}-b7ad6b7169203331-00"}
    if surface == "REST":
        (await http.post("/v1/chat/completions", json=REQUEST, headers=parent)).raise_for_status()
    else:
        metadata = tuple({**stack.headers, **parent}.items())
        async with grpc.aio.insecure_channel(stack.grpc) as channel:
            stub = gateway_pb2_grpc.GatewayServiceStub(channel)
            await stub.Ask(gateway_pb2.AskRequest(prompt="What is 17 * 23?"), metadata=metadata, timeout=60)

    await asyncio.to_thread(collector.wait_for, trace_id, NAMES, 10)


async def test_the_executors_span_speaks_the_genai_conventions(
    http: httpx.AsyncClient, collector: Collector
) -> None:
    response = await http.post("/v1/chat/completions", json={**REQUEST, "model": "small"})
    usage = response.json()["usage"]

    spans = await asyncio.to_thread(collector.wait_for, response.headers["x-lumni-trace-id"], NAMES)
    executed = [
        {a.key: a.value.string_value or a.value.int_value for a in span.attributes}
        for name, span in spans
        if name == "lumni-executor"
    ]
    (attempt,) = [attributes for attributes in executed if "gen_ai.usage.input_tokens" in attributes]
    assert {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.system": "openai",
        "gen_ai.request.model": "small",
        "gen_ai.usage.input_tokens": usage["prompt_tokens"],
        "gen_ai.usage.output_tokens": usage["completion_tokens"],
    }.items() <= attempt.items()


async def test_with_collector_and_portkey_down_callers_see_no_difference(
    http: httpx.AsyncClient, collector: Collector, portkey: Collector
) -> None:
    collector.down = portkey.down = True
    try:
        responses = await asyncio.gather(
            *(http.post("/v1/chat/completions", json=REQUEST) for _ in range(20))
        )
        assert {200} == {response.status_code for response in responses}
    finally:
        collector.down = portkey.down = False


@pytest.mark.arrangements
async def test_no_secret_and_no_prompt_is_in_any_log_or_span(
    stack: Stack, http: httpx.AsyncClient, collector: Collector
) -> None:
    response = await http.post("/v1/chat/completions", json={**REQUEST, "model": "breaks"})
    spans = await asyncio.to_thread(collector.wait_for, response.headers["x-lumni-trace-id"], NAMES)
    await http.post(
        "/v1/chat/completions", json=REQUEST, headers={"authorization": "Bearer sk-lumni-canary-wrong"}
    )

    admin = {"authorization": f"Bearer {ADMIN_KEY}"}
    written = [service.log.read_text() for service in stack.services.values()]
    written += [str(span) for _, span in spans]
    written.append((await http.get("/metrics", headers=admin)).text)
    for secret in (SECRET_TEXT, API_KEY, ADMIN_KEY, "sk-sim-canary", "sk-lumni-canary-wrong", PORTKEY_KEY):
        assert not any(secret in text for text in written), secret
