"""The response cache over real sockets, in two gateway processes with one Valkey."""

import asyncio
import json
from collections import Counter
from typing import Any

import asyncpg
import httpx
import openai
import pytest

from tests.flow import stack as stacks
from tests.flow.stack import Stack
from tests.simulator import Simulator

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.arrangements("workers")]

EQUAL = 200


def body(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "meets", "temperature": 0, "messages": [{"role": "user", "content": text}], **more}


async def calls(provider: Simulator, text: str) -> int:
    """How often the provider was asked this."""
    seen = await provider.requests(last=1000)
    return sum(text in str(one["body"]) for one in seen)


async def rows(stack: Stack, ids: list[str]) -> list[asyncpg.Record]:
    """The ledger's rows of these requests, when all are there."""
    connection = await asyncpg.connect(stack.database)
    try:
        async with asyncio.timeout(60):
            while True:
                found = await connection.fetch("SELECT * FROM usage_records WHERE request_id = ANY($1)", ids)
                if len(found) >= len(ids):
                    return found
                await asyncio.sleep(0.1)
    finally:
        await connection.close()


async def test_equal_requests_at_once_are_one_at_the_provider_and_in_the_bill(
    stack: Stack, provider: Simulator
) -> None:
    text = "How many equal questions make one call?"
    # A gateway that is short of CPU refuses some early, and they come again.
    async with openai.AsyncOpenAI(
        base_url=f"{stack.rest}/v1", api_key=stacks.API_KEY, max_retries=20
    ) as client:
        answers = await asyncio.gather(
            *(client.chat.completions.with_raw_response.create(**body(text)) for _ in range(EQUAL))
        )

    assert {"hit": EQUAL - 1, "miss": 1} == Counter(answer.headers["x-lumni-cache"] for answer in answers)
    assert 1 == await calls(provider, text)
    costs = [json.loads(answer.text)["lumni"]["cost"]["nano_usd"] for answer in answers]
    cost = max(costs)
    assert {0: EQUAL - 1, cost: 1} == Counter(costs)
    booked = await rows(stack, [answer.headers["x-request-id"] for answer in answers])
    assert {"final": 1, "cached": EQUAL - 1} == Counter(row["kind"] for row in booked)
    assert cost == sum(row["cost_nano_usd"] for row in booked)
    assert {cost} == {row["saved_nano_usd"] for row in booked if row["kind"] == "cached"}
    assert {"": 1, "hit": EQUAL - 1} == Counter(row["cache_result"] for row in booked)
    assert {("meets", "meets@openai", "openai")} == {
        (row["model"], row["deployment"], row["provider"]) for row in booked
    }


async def test_the_official_client_gets_a_stream_again_until_an_admin_purges_it(
    stack: Stack, provider: Simulator
) -> None:
    text = "Tell me of streams."

    async def ask() -> tuple[str, str]:
        async with openai.AsyncOpenAI(
            base_url=f"{stack.rest}/v1", api_key=stacks.API_KEY, max_retries=0
        ) as client:
            raw = await client.chat.completions.with_raw_response.create(**body(text, stream=True))
            words = [chunk.choices[0].delta.content or "" async for chunk in raw.parse() if chunk.choices]
            return raw.headers["x-lumni-cache"], "".join(words)

    first = await ask()
    assert "miss" == first[0]
    again = first
    async with asyncio.timeout(60):
        while again[0] != "hit":
            again = await ask()
    assert first[1] == again[1]
    before = await calls(provider, text)

    async with httpx.AsyncClient(base_url=stack.rest, timeout=60, trust_env=False) as http:
        admin = {"authorization": f"Bearer {stacks.ADMIN_KEY}"}
        assert 403 == (await http.delete("/admin/cache", headers=stack.headers)).status_code
        wrong = await http.delete("/admin/cache?tenant=ann", headers=admin)
        assert (400, "tenant") == (wrong.status_code, wrong.json()["error"]["param"])
        other = await http.delete("/admin/cache?tenant=user:nobody", headers=admin)
        assert {"tenant": "user:nobody", "purged": 0} == other.json()
        purged = await http.delete("/admin/cache", headers=admin)
        assert purged.json()["purged"] >= 1
        trail = await http.get("/admin/audit?subject=all", headers=admin)
        assert "cache.purge" == trail.json()["data"][0]["action"]
    assert "miss" == (await ask())[0]
    assert before + 1 == await calls(provider, text)


async def test_a_question_in_other_words_costs_nothing_and_is_a_row_that_says_so(
    stack: Stack, provider: Simulator
) -> None:
    asked = (
        "Which birds sleep while flying?",
        "hello, could you tell me which birds sleep while flying? Thanks!",
    )
    async with httpx.AsyncClient(base_url=stack.rest, timeout=60, headers=stack.headers) as http:

        async def ask(text: str) -> httpx.Response:
            return await http.post("/v1/chat/completions", json=body(text))

        first = await ask(asked[0])
        assert "miss" == first.headers["x-lumni-cache"]
        async with asyncio.timeout(60):
            # It is kept in the background.
            while "hit" != (await ask(asked[0])).headers["x-lumni-cache"]:
                pass
        again = await ask(asked[1])
        negated = await ask("Which birds don't sleep while flying?")

    assert ("semantic", "miss") == (again.headers["x-lumni-cache"], negated.headers["x-lumni-cache"])
    made, given = (answer.json() for answer in (first, again))
    assert made["choices"] == given["choices"]
    assert (0, made["lumni"]["request_id"]) == (
        given["lumni"]["cost"]["nano_usd"],
        given["lumni"]["cache"]["request_id"],
    )
    [row] = await rows(stack, [again.headers["x-request-id"]])
    assert ("cached", "semantic", 0, made["lumni"]["cost"]["nano_usd"]) == (
        row["kind"],
        row["cache_result"],
        row["cost_nano_usd"],
        row["saved_nano_usd"],
    )
    connection = await asyncpg.connect(stack.database)
    try:
        async with asyncio.timeout(60):
            reason = None
            while reason is None:
                reason = await connection.fetchval(
                    "SELECT reason FROM model_selections WHERE request_id = $1", again.headers["x-request-id"]
                )
    finally:
        await connection.close()
    assert reason.startswith(f"semantic cache: made for {made['lumni']['request_id']}")
    assert 0 == await calls(provider, asked[1])


async def test_what_a_request_wishes_is_validated_and_kept(stack: Stack) -> None:
    async with httpx.AsyncClient(
        base_url=stack.rest, headers=stack.headers, timeout=60, trust_env=False
    ) as http:

        async def ask(more: dict[str, Any], **headers: str) -> httpx.Response:
            return await http.post("/v1/chat/completions", json=body("Wishes.") | more, headers=headers)

        wrong = await ask({"cache": {"ttl": "long"}})
        assert (400, "cache.ttl") == (wrong.status_code, wrong.json()["error"]["param"])
        assert "miss" == (await ask({})).headers["x-lumni-cache"]
        assert "bypass" == (await ask({}, **{"cache-control": "no-cache"})).headers["x-lumni-cache"]
        assert "x-lumni-cache" not in (await ask({"temperature": 1})).headers
