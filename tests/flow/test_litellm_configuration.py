"""A LiteLLM configuration as people have it, in front of all services: wildcards, no groups, no prices."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import httpx
import orjson
import pytest
import pytest_asyncio

from services.gateway.migrate import migrate
from services.local.postgres import Postgres
from services.local.server import started
from services.local.valkey import Valkey
from tests.flow import stack as stacks
from tests.flow.conftest import execute
from tests.flow.stack import ADMIN_KEY, Stack
from tests.simulator import Simulator

# A stack of its own, for whichever worker is free.
pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("litellm_configuration")]
FLEET = """
model_list:
  - model_name: openai/*
    litellm_params: {{model: openai/*, api_base: os.environ/ELSEWHERE, api_key: os.environ/ELSEWHERE_KEY}}
  - model_name: elsewhere
    litellm_params: {{model: openai/some-model, api_base: os.environ/ELSEWHERE, api_key: os.environ/ELSEWHERE_KEY}}
  - model_name: theirs
    litellm_params: {{model: anthropic/claude-haiku-4-5, api_base: "{simulator}", api_key: os.environ/ELSEWHERE_KEY}}
environment_variables: {{ELSEWHERE: "{simulator}/v1", ELSEWHERE_KEY: sk-of-a-provider}}
general_settings: {{alerting: [slack]}}
"""
PLANS = """
plans:
  pro: {access_groups: [free, standard, premium], max_output_tokens: 256}
default_plan: pro
bootstrap_plan: pro
"""
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stack(servers_folder: Path, postgres_server: Postgres, provider: Simulator) -> AsyncIterator[Stack]:
    """All services in one process with that configuration; the last test stops it."""
    async with started(Valkey(servers_folder / "litellm-valkey", settings={"appendonly": "no"})) as valkey:
        await execute(postgres_server.url, "CREATE DATABASE litellm_configuration")
        database = postgres_server.database("litellm_configuration")
        await migrate(database)
        async with stacks.running(
            servers_folder / "litellm",
            database=database,
            valkey=valkey,
            simulator=provider.url,
            fleet=FLEET,
            plans=PLANS,
            arrangement="together",
        ) as one:
            one.database = database
            yield one


async def chat(http: httpx.AsyncClient, model: str, **more: object) -> httpx.Response:
    return await http.post("/v1/chat/completions", json={"model": model, "messages": QUESTION, **more})


async def test_a_wildcard_is_called_by_a_name_of_the_price_table(http: httpx.AsyncClient) -> None:
    pinned = (await chat(http, "openai/gpt-4o-mini")).json()["lumni"]
    left_open = (await chat(http, "auto")).json()["lumni"]

    assert ("openai/gpt-4o-mini", "unpriced" in pinned["cost"]) == (pinned["model"], False)
    assert pinned["cost"]["nano_usd"] > 0
    assert left_open["degraded"] == []
    listed = [one["id"] for one in (await http.get("/v1/models")).json()["data"]]
    assert {"auto", "openai/gpt-4o-mini", "elsewhere", "theirs"} <= set(listed)


async def test_azures_path_and_key_reach_the_same_model(http: httpx.AsyncClient) -> None:
    headers = {"authorization": "", "api-key": stacks.API_KEY}
    path = "/openai/deployments/theirs/chat/completions?api-version=2024-10-21"
    answer = await http.post(path, json={"messages": QUESTION}, headers=headers)

    assert "theirs" == answer.json()["lumni"]["model"]


async def test_what_changes_no_answer_is_dropped_and_what_does_is_refused_by_name(
    http: httpx.AsyncClient,
) -> None:
    dropped = await chat(http, "theirs", seed=7, prompt_cache_key="k", metadata={"a": "b"})
    refused = await chat(http, "theirs", logprobs=True)
    led_elsewhere = await chat(http, "auto", logprobs=True)

    assert {"seed", "prompt_cache_key", "metadata"} == set(dropped.json()["lumni"]["dropped"])
    assert 400 == refused.status_code
    assert "logprobs" in refused.json()["error"]["message"]
    assert "openai" == led_elsewhere.json()["lumni"]["provider"]


async def test_a_cost_that_nobody_knows_is_null_and_out_of_reach_of_budgets(
    http: httpx.AsyncClient, stack: Stack
) -> None:
    notes = {"x-portkey-trace-id": "trace-of-theirs"}
    answer = await http.post(
        "/v1/chat/completions", json={"model": "elsewhere", "messages": QUESTION}, headers=notes
    )
    admin = {"authorization": f"Bearer {ADMIN_KEY}"}
    made = await http.post("/admin/keys", json={"user_id": "ann", "budget_usd": 5}, headers=admin)
    limited = {"authorization": f"Bearer {made.json()['key']}"}
    pinned = await http.post(
        "/v1/chat/completions", json={"model": "elsewhere", "messages": QUESTION}, headers=limited
    )
    listed = (await http.get("/v1/models", headers=limited)).json()["data"]

    cost = answer.json()["lumni"]["cost"]
    assert (True, False) == (cost.pop("unpriced"), cost.pop("estimated"))
    assert {None} == set(cost.values())
    assert "trace-of-theirs" == answer.headers["x-portkey-trace-id"]
    assert (403, "model_not_allowed") == (pinned.status_code, pinned.json()["error"]["code"])
    assert "elsewhere" not in [one["id"] for one in listed]
    row = await _row(stack, answer.json()["lumni"]["request_id"])
    assert (None, None, '{"trace_id": "trace-of-theirs"}') == tuple(row)


async def _row(stack: Stack, request_id: str) -> asyncpg.Record:
    """The row of a request's only attempt, when the ledger has written it."""
    connection = await asyncpg.connect(stack.database)
    try:
        async with asyncio.timeout(30):
            while not (
                row := await connection.fetchrow(
                    "SELECT cost_nano_usd, input_cost_nano_usd, metadata FROM usage_records WHERE request_id = $1",
                    request_id,
                )
            ):
                await asyncio.sleep(0.05)
        return row
    finally:
        await connection.close()


async def test_a_stream_under_way_ends_whole_when_the_one_process_stops(
    http: httpx.AsyncClient, stack: Stack, provider: Simulator
) -> None:
    one = stack.services["gateway"]
    body = {"model": "theirs", "messages": QUESTION, "stream": True}
    await provider.script("claude-haiku-4-5", standing="tokens-20-drip-100")
    try:
        async with http.stream("POST", "/v1/chat/completions", json=body) as response:
            lines = response.aiter_lines()
            first = await anext(lines)
            stopping = asyncio.create_task(one.stop(grace_s=60))
            rest = [line async for line in lines if line]
        await stopping
    finally:
        await provider.script("claude-haiku-4-5", standing="")

    assert first.startswith("data: ")
    assert "data: [DONE]" == rest[-1]
    assert orjson.loads(rest[-2].removeprefix("data: "))["lumni"]["cost"]["nano_usd"] > 0
    assert 0 == one.exit_code
    assert '"level":"ERROR"' not in one.log.read_text()
