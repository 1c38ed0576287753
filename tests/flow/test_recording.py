"""What operators may turn on, in one process: files of requests, texts in spans, attempts in Portkey's logs."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio

from services.gateway.migrate import migrate
from services.local.postgres import Postgres
from services.local.server import started
from services.local.valkey import Valkey
from tests import portkey
from tests.flow import stack as stacks
from tests.flow.conftest import execute
from tests.otlp import Collector
from tests.portkey import Portkey
from tests.simulator import Simulator

pytestmark = pytest.mark.asyncio(loop_scope="session")
KEY = "pk-recording"
TYPED = "sk-typed-0123456789abcdef"
REQUEST = {
    "model": "breaks",
    "messages": [{"role": "user", "content": f"What is 17 * 23? My key is {TYPED}."}],
}


@pytest.fixture(scope="module")
def fake() -> Iterator[Portkey]:
    """Where attempts go."""
    with portkey.serving(KEY) as one:
        yield one


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def recorded(
    servers_folder: Path, postgres_server: Postgres, provider: Simulator, collector: Collector, fake: Portkey
) -> AsyncIterator[tuple[httpx.AsyncClient, Path]]:
    """A client of such a process, and the folder of its files."""
    name = "flow_recording"
    folder = servers_folder / name / "llm"
    async with started(Valkey(servers_folder / f"{name}-valkey", settings={"appendonly": "no"})) as valkey:
        await execute(postgres_server.url, f"CREATE DATABASE {name}")
        database = postgres_server.database(name)
        await migrate(database)
        extra = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.address,
            "PORTKEY_API_KEY": KEY,
            "LUMNI_PORTKEY_FORMAT": "logs",
            "LUMNI_PORTKEY_LOGS": f"{fake.address}/v1/logs",
            "LUMNI_REQUEST_LOG_DIR": str(folder),
            "LUMNI_TRACE_CONTENT": "redacted",
        }
        async with (
            stacks.running(
                servers_folder / name,
                database=database,
                valkey=valkey,
                simulator=provider.url,
                extra=extra,
                arrangement="together",
            ) as stack,
            httpx.AsyncClient(
                base_url=stack.rest, headers=stack.headers, timeout=60, trust_env=False
            ) as client,
        ):
            yield client, folder


async def test_a_streamed_answer_of_a_fallback_is_in_its_file_its_span_and_portkeys_logs(
    recorded: tuple[httpx.AsyncClient, Path], collector: Collector, fake: Portkey
) -> None:
    client, folder = recorded
    trace_id = uuid4().hex
    notes = {
        "traceparent": f"00-{trace_id}-b7ad6b7169203331-01",
        "x-portkey-metadata": '{"feature": "search"}',
    }
    answer = await client.post("/v1/chat/completions", json={**REQUEST, "stream": True}, headers=notes)
    request_id = answer.headers["x-request-id"]

    async with asyncio.timeout(60):
        while not (found := list(folder.glob(f"*_breaks_{request_id}.json"))):
            await asyncio.sleep(0.05)
    file = json.loads(found[0].read_text())
    assert (trace_id, "small@openai", None) == (file["trace_id"], file["answered_by"], file["error"])
    assert ["server_error", None] == [one["error"] for one in file["attempts"]]
    assert "My key is [redacted]." in file["request"]["messages"][0]["content"]
    text = file["response"]["texts"]["0.content"]
    assert text

    root = "POST /v1/chat/completions"
    spans = await asyncio.to_thread(collector.wait_for_names, trace_id, {root, "chat small"})
    shown = {
        one.key: one.value.string_value for span in spans if span.name == root for one in span.attributes
    }
    assert text in shown["gen_ai.output.messages"]
    assert "[redacted]" in shown["gen_ai.input.messages"]

    entries = await asyncio.to_thread(fake.wait_for_logs, 2)
    mine = [one for one in entries if one["metadata"]["traceId"] == trace_id]
    attempts = {span.span_id.hex(): span.name for span in spans if span.name in ("chat breaks", "chat small")}
    assert attempts == {one["metadata"]["spanId"]: one["metadata"]["spanName"] for one in mine}
    assert [500, 200] == [one["response"]["status"] for one in mine]
    assert {"feature": "search", "requestId": request_id}.items() <= mine[1]["metadata"].items()
    assert file["usage"]["prompt_tokens"] == mine[1]["response"]["body"]["usage"]["prompt_tokens"]
    assert not any(TYPED in str(one) for one in (file, spans, entries))


async def test_while_portkey_is_frozen_requests_are_answered(
    recorded: tuple[httpx.AsyncClient, Path], fake: Portkey
) -> None:
    client, _ = recorded
    fake.answers.clear()
    try:
        answers = await asyncio.gather(
            *(client.post("/v1/chat/completions", json=REQUEST) for _ in range(20))
        )
        assert {200} == {answer.status_code for answer in answers}
    finally:
        fake.answers.set()
