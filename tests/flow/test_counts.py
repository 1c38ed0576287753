"""What one chat completion takes, in counts that no slow machine changes: spans, calls, log lines, commands of Redis."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.chassis import redis
from tests.flow.stack import Stack
from tests.otlp import Collector

pytestmark = pytest.mark.asyncio(loop_scope="session")
SERVICES = ("gateway", "classifier", "selector", "executor")
BODY: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": "What is 17 times 23?"}]}
# By service: admitted and settled, and the decision as an event; the beginning and the end of the attempt as events. What
# the ledger asks depends on how many events it reads at once.
COMMANDS = Counter({("gateway", "EVALSHA"): 2, ("gateway", "XADD"): 1, ("executor", "XADD"): 2})
# The gateway's stages, a call for each of the other services, and the executor's of the provider; the items of both
# batches.
SPANS = {
    "POST /v1/chat/completions",
    "authenticate",
    "classify",
    "select",
    "admit",
    "settle",
    "lumni.classifier.v1.ClassifierService/BatchClassify",
    "Classify",
    "lumni.selector.v1.SelectorService/BatchSelect",
    "Select",
    "lumni.executor.v1.ExecutorService/Execute",
    "chat small",
}


@asynccontextmanager
async def watched(stack: Stack) -> AsyncIterator[Callable[[str], Awaitable[Counter[tuple[str, str]]]]]:
    """What Valkey is asked while the block runs: gives the commands of gateway and executor that name a request."""
    async with redis.connect(stack.valkey, timeout_s=60) as client, client.monitor() as monitor:
        found: Counter[tuple[str, str]] = Counter()

        async def naming(request_id: str) -> Counter[tuple[str, str]]:
            users = {one["addr"]: one["user"] for one in await client.client_list()}
            await client.echo("so far")
            while True:
                seen = await monitor.next_command()
                if "so far" in seen["command"]:
                    return found
                # What a script does is a part of its one round trip, and has no user.
                user = users.get(f"{seen['client_address']}:{seen['client_port']}")
                if request_id in seen["command"] and user in ("gateway", "executor"):
                    found[user, seen["command"].split()[0]] += 1

        yield naming


@pytest.mark.parametrize("stream", [False, True])
async def test_a_chat_completion_takes_so_many_commands_spans_calls_and_log_lines(
    stack: Stack, http: httpx.AsyncClient, collector: Collector, stream: bool
) -> None:
    # What is read once is read by now.
    (await http.post("/v1/chat/completions", json=BODY)).raise_for_status()
    async with watched(stack) as naming:
        answer = await http.post("/v1/chat/completions", json={**BODY, "stream": stream})
        request_id, trace_id = answer.headers["x-request-id"], answer.headers["x-lumni-trace-id"]
        async with asyncio.timeout(60):
            while (await naming(request_id)).total() < COMMANDS.total() or len(
                collector.trace(trace_id)
            ) < len(SPANS):
                await asyncio.sleep(0.05)
        commands = await naming(request_id)

    assert COMMANDS == commands
    names = Counter(span.name for _, span in collector.trace(trace_id))
    assert {name.replace("/Execute", "/StreamExecute") if stream else name for name in SPANS} == names.keys()
    assert {1} == set(names.values())
    for name in SERVICES:
        lines = stack.services[name].log.read_text().splitlines()
        assert 1 == sum(request_id in line for line in lines), name


async def test_a_batch_has_no_log_line_beside_those_of_its_items(
    stack: Stack, http: httpx.AsyncClient
) -> None:
    (await http.post("/v1/chat/completions", json=BODY)).raise_for_status()

    for name in ("classifier", "selector"):
        messages = [json.loads(line)["message"] for line in stack.services[name].log.read_text().splitlines()]
        assert not [message for message in messages if "/Batch" in message]


@pytest.mark.arrangements
async def test_a_process_logs_one_line_for_a_request(stack: Stack, http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/chat/completions", json=BODY)
    answer.raise_for_status()

    def lines(log: Path) -> list[str]:
        return [line for line in log.read_text().splitlines() if answer.headers["x-request-id"] in line]

    # Services of one process share its log; what serves a request logs it after its answer.
    for log in {stack.services[name].log for name in SERVICES}:
        async with asyncio.timeout(60):
            while not lines(log):
                await asyncio.sleep(0.05)
        assert 1 == len(lines(log)), lines(log)
