"""One request is one trace, in the header, in every log, at the collector and at Portkey; and no secret in any."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any
from uuid import uuid4

import asyncpg
import grpc
import httpx
import pytest
from lumni.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from services.chassis import redis
from tests.flow.conftest import PORTKEY_KEY
from tests.flow.stack import ADMIN_KEY, API_KEY, VIEWER_KEY, Stack
from tests.otlp import Collector

pytestmark = pytest.mark.asyncio(loop_scope="session")
SERVICES = ("gateway", "classifier", "selector", "executor")
NAMES = {f"lumni-{name}" for name in SERVICES}
SECRET_TEXT = "canary-prompt-text"
REQUEST = {"model": "auto", "messages": [{"role": "user", "content": f"What is {SECRET_TEXT}?"}]}


def attributes(span: Span) -> dict[str, Any]:
    return {one.key: _plain(one.value) for one in span.attributes}


def _plain(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_plain(one) for one in value.array_value.values]
    return getattr(value, str(kind))


@pytest.mark.arrangements
async def test_one_request_is_one_trace_everywhere(
    stack: Stack, http: httpx.AsyncClient, collector: Collector, portkey: Collector
) -> None:
    response = await http.post("/v1/chat/completions", json=REQUEST)
    trace_id, request_id = response.headers["x-lumni-trace-id"], response.headers["x-request-id"]

    for destination in (collector, portkey):
        await asyncio.to_thread(destination.wait_for_names, trace_id, {"POST /v1/chat/completions"})
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


async def test_a_streamed_answer_of_a_fallback_is_one_trace_of_all_its_stages(
    http: httpx.AsyncClient, collector: Collector, portkey: Collector
) -> None:
    body = {"model": "breaks", "messages": [{"role": "user", "content": "What is 17 * 23?"}], "stream": True}
    trace_id = uuid4().hex
    notes = {
        "traceparent": f"00-{trace_id}-b7ad6b7169203331-01",
        "x-portkey-metadata": json.dumps({"feature": "search"}),
    }
    answer = await http.post("/v1/chat/completions", json=body, headers=notes)
    last = json.loads(answer.text.split("data: ")[-2])["lumni"]

    root, called = "POST /v1/chat/completions", "lumni.executor.v1.ExecutorService/StreamExecute"
    below = {
        "authenticate": root,
        "classify": root,
        "Classify": "classify",
        "select": root,
        "Select": "select",
        "admit": root,
        called: root,
        "chat breaks": called,
        "chat small": called,
        "settle": root,
    }
    for destination in (collector, portkey):
        spans = await asyncio.to_thread(destination.wait_for_names, trace_id, {root, *below})
        by_name = {span.name: span for span in spans}
        by_id = {span.span_id: span.name for span in spans}
        assert "b7ad6b7169203331" == by_name[root].parent_span_id.hex()
        assert below == {name: by_id.get(by_name[name].parent_span_id) for name in below}

        whole, failed, good = (attributes(by_name[name]) for name in (root, "chat breaks", "chat small"))
        assert {
            "http.response.status_code": 200,
            "gen_ai.request.model": "breaks",
            "gen_ai.response.model": "small",
            "lumni.request_id": answer.headers["x-request-id"],
            "lumni.candidates": ["breaks@openai", "small@openai"],
            "lumni.attempts": 2,
            "lumni.cost_nano_usd": last["cost"]["nano_usd"],
        }.items() <= whole.items()
        assert ["gen_ai.first_chunk"] == [event.name for event in by_name[root].events]
        assert ("server_error", 500) == (failed["error.type"], failed["http.response.status_code"])
        assert Status.STATUS_CODE_ERROR == by_name["chat breaks"].status.code
        assert "error.type" not in good
        assert "search" == good["lumni.metadata.feature"]
        assert last["cost"]["nano_usd"] == failed["lumni.cost_nano_usd"] + good["lumni.cost_nano_usd"]
        assert ["gen_ai.first_chunk"] == [event.name for event in by_name["chat small"].events]
        assert good["gen_ai.response.time_to_first_chunk"] > 0
        assert by_name["chat breaks"].end_time_unix_nano <= by_name["chat small"].start_time_unix_nano


async def test_a_grpc_calls_span_begins_before_its_key_is_checked(stack: Stack, collector: Collector) -> None:
    trace_id = uuid4().hex
    metadata = tuple({**stack.headers, "traceparent": f"00-{trace_id}-b7ad6b7169203331-01"}.items())
    async with grpc.aio.insecure_channel(stack.grpc) as channel:
        stub = gateway_pb2_grpc.GatewayServiceStub(channel)
        await stub.Ask(gateway_pb2.AskRequest(prompt="What is 17 * 23?"), metadata=metadata, timeout=60)

    root = "lumni.gateway.v1.GatewayService/Ask"
    spans = await asyncio.to_thread(collector.wait_for_names, trace_id, {root, "authenticate", "chat small"})
    by_name = {span.name: span for span in spans}
    assert by_name[root].span_id == by_name["authenticate"].parent_span_id
    assert by_name[root].start_time_unix_nano <= by_name["authenticate"].start_time_unix_nano


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
async def test_no_key_and_no_text_is_in_any_log_span_metric_error_page_file_table_or_key_of_redis(
    stack: Stack, http: httpx.AsyncClient, collector: Collector, portkey: Collector
) -> None:
    admin = {"authorization": f"Bearer {ADMIN_KEY}"}
    made = await http.post("/admin/keys", json={"user_id": "canary-owner"}, headers=admin)
    virtual_key = made.json()["key"]
    own = {"authorization": f"Bearer {virtual_key}"}
    asked = "/v1/chat/completions"
    good = await http.post(asked, json={**REQUEST, "model": "small", "stream": True}, headers=own)
    answers = [
        await http.post(asked, json={**REQUEST, "model": "breaks"}, headers=own),
        await http.post(asked, json={**REQUEST, "model": "keyless"}, headers=own),
        await http.post(asked, json={**REQUEST, "temperature": SECRET_TEXT}, headers=own),
        await http.post(asked, json=REQUEST, headers={"authorization": "Bearer sk-lumni-canary-wrong"}),
    ]

    written = [answer.text for answer in answers if answer.is_error]
    assert 3 <= len(written)
    for answer in (good, answers[0]):
        for destination in (collector, portkey):
            spans = await asyncio.to_thread(destination.wait_for, answer.headers["x-lumni-trace-id"], NAMES)
            written += [str(span) for _, span in spans]
        await _until_written(stack, answer.headers["x-request-id"])
    written.append((await http.get("/metrics", headers=admin)).text)
    for address in stack.metrics.values():
        written.append((await http.get(address)).raise_for_status().text)
    paths = [f"/requests/{good.headers['x-request-id']}", f"/requests/{answers[0].headers['x-request-id']}"]
    for key, more in ((ADMIN_KEY, ["/keys", f"/keys/{made.json()['key_id']}"]), (VIEWER_KEY, [])):
        written += await _pages(
            stack, key, ["", "/requests", "/models", "/spend", "/spend?by=key", *paths, *more]
        )
    written += await _redis(stack)
    # Logs, what is spooled, what is configured.
    folder = stack.services["gateway"].log.parent
    written += [path.read_bytes().decode("latin-1") for path in folder.rglob("*") if path.is_file()]
    written += await _rows(stack)
    secrets = (
        SECRET_TEXT,
        API_KEY,
        ADMIN_KEY,
        virtual_key,
        "sk-sim-canary",
        "sk-lumni-canary-wrong",
        VIEWER_KEY,
        PORTKEY_KEY,
    )
    for secret in secrets:
        # PostgreSQL shows bytes in hexadecimal.
        found = [text for text in written if secret in text or secret.encode().hex() in text]
        assert not found, f"{secret}: {found[0][:500]}"


async def _pages(stack: Stack, key: str, paths: Sequence[str]) -> list[str]:
    """Pages of the dashboard, as the holder of a key gets them."""
    async with httpx.AsyncClient(base_url=stack.rest, timeout=60, trust_env=False) as browser:
        form = (await browser.get("/dashboard/sign-in")).text
        token = form.partition('name="csrf" value="')[2].partition('"')[0]
        signed_in = await browser.post("/dashboard/sign-in", data={"key": key, "csrf": token})
        assert 303 == signed_in.status_code
        answers = [await browser.get(f"/dashboard{path}") for path in paths]
        assert {200} == {answer.status_code for answer in answers}, [answer.url for answer in answers]
        return [answer.text for answer in answers]


async def _redis(stack: Stack) -> list[str]:
    """Every key of Redis with its value, as text."""
    async with redis.connect(stack.valkey, timeout_s=60) as client:
        read: dict[bytes, Callable[[bytes], Awaitable[Any]]] = {
            b"string": client.get,
            b"hash": client.hgetall,
            b"list": partial(client.lrange, start=0, end=-1),
            b"set": client.smembers,
            b"zset": partial(client.zrange, start=0, end=-1, withscores=True),
            b"stream": client.xrange,
        }
        kinds = {key: await client.type(key) async for key in client.scan_iter(count=1000)}
        assert b"stream" in kinds.values()
        # One that expired meanwhile has no type.
        return [f"{key!r} {await read[kind](key)!r}" for key, kind in kinds.items() if kind in read]


async def _until_written(stack: Stack, request_id: str) -> None:
    """Wait until the ledger has written what a request took."""
    connection = await asyncpg.connect(stack.database)
    try:
        async with asyncio.timeout(60):
            while not await connection.fetchval(
                "SELECT count(*) FROM usage_records WHERE request_id = $1", request_id
            ):
                await asyncio.sleep(0.05)
    finally:
        await connection.close()


async def _rows(stack: Stack) -> list[str]:
    """Every table of the database, as text."""
    connection = await asyncpg.connect(stack.database)
    try:
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        assert tables
        return [
            await connection.fetchval(f"SELECT coalesce(string_agg(t::text, ' '), '') FROM {table} t")
            for (table,) in tables
        ]
    finally:
        await connection.close()
