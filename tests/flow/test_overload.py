"""A gateway with few places: what a greedy tenant sends beyond them is refused, and nobody else notices."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import pytest_asyncio
from lumni.gateway.v1 import gateway_pb2, gateway_pb2_grpc

from services.gateway.migrate import migrate
from services.local.postgres import Postgres
from services.local.valkey import Valkey
from tests.flow import stack as stacks
from tests.flow.conftest import execute
from tests.flow.stack import ADMIN_KEY, Stack
from tests.simulator import Simulator

# A stack of its own, for whichever worker is free.
pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("overload")]

PLACES = 8
# Answers after a second, so that a burst is wholly there before its first answer.
MODEL = """
model_list:
  - model_name: small
    litellm_params: {{model: openai/small-sim-slow-1000, api_base: "{simulator}/v1", api_key: os.environ/SIMULATOR_KEY}}
    model_info: {{input_cost_per_token: 0.0000001, output_cost_per_token: 0.0000004, access_groups: [all]}}
  - model_name: hangs
    litellm_params: {{model: openai/hangs-sim-hang, api_base: "{simulator}/v1", api_key: os.environ/SIMULATOR_KEY}}
    model_info: {{input_cost_per_token: 0.0000001, output_cost_per_token: 0.0000004, access_groups: [all]}}
"""
BODY: dict[str, Any] = {"model": "small", "messages": [{"role": "user", "content": "one"}]}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def crowded(
    servers_folder: Path, postgres_server: Postgres, valkey_server: Valkey, provider: Simulator
) -> AsyncIterator[Stack]:
    """All services, and a gateway with few places."""
    await execute(postgres_server.url, "CREATE DATABASE overload")
    database = postgres_server.database("overload")
    await migrate(database)
    async with stacks.running(
        servers_folder / "overload",
        database=database,
        valkey=valkey_server,
        simulator=provider.url,
        fleet=MODEL,
        extra={"LUMNI_MAX_CONCURRENT_REQUESTS": str(PLACES)},
        arrangement="together",
    ) as one:
        yield one


async def holder(stack: Stack, organization: str) -> dict[str, str]:
    """The Authorization header of a new key of an organization."""
    admin = {"authorization": f"Bearer {ADMIN_KEY}"}
    async with httpx.AsyncClient(base_url=stack.rest, headers=admin, trust_env=False, timeout=60) as http:
        (await http.put(f"/admin/organizations/{organization}", json={})).raise_for_status()
        made = await http.post("/admin/keys", json={"organization_id": organization})
        return {"authorization": f"Bearer {made.raise_for_status().json()['key']}"}


async def test_a_burst_is_refused_beyond_the_places_and_refuses_nobody_else(crowded: Stack) -> None:
    greedy, modest = await holder(crowded, "greedy"), await holder(crowded, "modest")
    limits = httpx.Limits(max_connections=100)
    async with httpx.AsyncClient(base_url=crowded.rest, trust_env=False, timeout=60, limits=limits) as http:

        async def ask(headers: dict[str, str], *, stream: bool = False) -> httpx.Response:
            return await http.post("/v1/chat/completions", json={**BODY, "stream": stream}, headers=headers)

        burst = [asyncio.create_task(ask(greedy, stream=i % 2 == 0)) for i in range(40)]
        refused = [
            task.result() for task in (await asyncio.wait(burst, return_when=asyncio.FIRST_COMPLETED))[0]
        ]
        answer = await ask(modest)
        answers = await asyncio.gather(*burst)
        listed = await http.get("/metrics", headers={"authorization": f"Bearer {ADMIN_KEY}"})

    assert 200 == answer.status_code
    # The first to end were refused, long before anything was answered.
    assert {429} == {one.status_code for one in refused}
    # On a busy machine some wait for a place until their time in the queue is over.
    assert {200, 429} <= {one.status_code for one in answers} <= {200, 429, 503}
    assert PLACES <= sum(one.status_code == 200 for one in answers) < 40
    for one in refused:
        assert "1" == one.headers["retry-after"]
        assert one.headers["x-request-id"]
        error = one.json()["error"]
        assert ("requests", None, "overloaded") == (error["type"], error["param"], error["code"])
        assert "organization greedy has its share" in error["message"]
    assert 'lumni_gateway_refusals_total{reason="OVERLOADED",scope="overload",where="here"}' in listed.text


async def test_grpc_calls_take_the_same_places(crowded: Stack) -> None:
    greedy, modest = await holder(crowded, "greedy"), await holder(crowded, "modest")
    ask = gateway_pb2.AskRequest(prompt="one", model="small")
    async with grpc.aio.insecure_channel(crowded.grpc) as channel:
        stub = gateway_pb2_grpc.GatewayServiceStub(channel)

        async def code(headers: dict[str, str]) -> grpc.StatusCode:
            call = stub.Ask(ask, metadata=tuple(headers.items()), timeout=60)
            return await call.code()

        burst = [asyncio.create_task(code(greedy)) for _ in range(40)]
        await asyncio.wait(burst, return_when=asyncio.FIRST_COMPLETED)
        answered = await code(modest)
        codes = await asyncio.gather(*burst)

    assert grpc.StatusCode.OK is answered
    expected = {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert expected <= set(codes) <= expected | {grpc.StatusCode.UNAVAILABLE}
    assert PLACES <= codes.count(grpc.StatusCode.OK) < 40


async def test_a_refused_body_is_not_read(crowded: Stack) -> None:
    greedy = await holder(crowded, "greedy")
    limits = httpx.Limits(max_connections=100)
    async with httpx.AsyncClient(base_url=crowded.rest, trust_env=False, timeout=60, limits=limits) as http:

        async def status(**request: Any) -> int:
            return (await http.post("/v1/chat/completions", headers=greedy, **request)).status_code

        # Whoever reads this says 400.
        assert 400 == await status(content=b"{")

        # As many as run, as many as wait, and one that is refused.
        burst = [asyncio.create_task(status(json={**BODY, "model": "hangs"})) for _ in range(2 * PLACES + 1)]
        refused, _ = await asyncio.wait(burst, return_when=asyncio.FIRST_COMPLETED)
        # No place becomes free, for nothing that runs ends.
        answers = [*(task.result() for task in refused), await status(content=b"{")]
        for task in burst:
            task.cancel()
        await asyncio.gather(*burst, return_exceptions=True)

    assert {429} == set(answers)
