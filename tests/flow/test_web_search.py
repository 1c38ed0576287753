"""Searches of the web that a plan allows: reserved before, counted and booked after, to the nano-dollar."""

from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest

from tests.flow.stack import ADMIN_KEY, Stack
from tests.gateway.conftest import eventually
from tests.simulator import Simulator

pytestmark = pytest.mark.asyncio(loop_scope="session")

SEARCH = {"type": "web_search_20250305", "name": "web_search"}
PARIS = {"type": "approximate", "approximate": {"city": "Paris", "country": "FR"}}
# As tests.flow.stack prices them, in nano-USD: a search, a prompt token, a token of the answer.
A_SEARCH, INPUT, OUTPUT = 10_000_000, 1_000, 5_000


async def key(http: httpx.AsyncClient, user: str, **fields: Any) -> dict[str, str]:
    made = await http.post(
        "/admin/keys",
        json={"user_id": user, "plan": "searching", **fields},
        headers={"authorization": f"Bearer {ADMIN_KEY}"},
    )
    assert 201 == made.status_code, made.text
    return {"authorization": f"Bearer {made.json()['key']}"}


def body(**fields: Any) -> dict[str, Any]:
    return {"model": "searches", "messages": [{"role": "user", "content": "What is new?"}], **fields}


async def test_a_thousand_searches_are_no_bargain_for_half_a_cent(
    stack: Stack, http: httpx.AsyncClient, provider: Simulator
) -> None:
    before = (await provider.counts())["requests"]
    poor = await key(http, "poor.searcher", budget_usd=0.005, budget_period="total")
    for uses in ({"max_uses": 1000}, {"max_uses": 1}, {}):
        answer = await http.post("/v1/chat/completions", json=body(tools=[SEARCH | uses]), headers=poor)
        assert (429, "insufficient_quota") == (answer.status_code, answer.json()["error"]["code"]), (
            answer.text
        )

    assert before == (await provider.counts())["requests"]
    # The same without a search has room.
    answer = await http.post("/v1/chat/completions", json=body(max_tokens=8), headers=poor)
    assert 200 == answer.status_code, answer.text


@pytest.mark.parametrize(
    ("path", "asked", "searched"),
    [
        ("/v1/chat/completions", {"tools": [SEARCH | {"max_uses": 2}]}, 2),
        ("/v1/chat/completions", {"tools": [SEARCH]}, 3),
        ("/v1/chat/completions", {"web_search_options": {"search_context_size": "low"}}, 1),
        ("/v1/chat/completions", {"web_search_options": {"user_location": PARIS}}, 3),
        ("/v1/messages", {"tools": [SEARCH | {"max_uses": 2}], "max_tokens": 64}, 2),
        ("/v1/messages", {"tools": [SEARCH], "max_tokens": 64}, 3),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_what_was_searched_is_booked_to_the_nano_dollar(
    stack: Stack, http: httpx.AsyncClient, path: str, asked: dict[str, Any], searched: int, *, stream: bool
) -> None:
    user = f"searcher.{uuid4().hex[:8]}"
    own = await key(http, user)
    answer = await http.post(path, json=body(**asked, stream=stream), headers=own)
    assert 200 == answer.status_code, answer.text

    database = await asyncpg.connect(stack.database)
    try:

        async def written() -> bool:
            return bool(
                await database.fetchval("SELECT count(*) FROM usage_records WHERE user_id = $1", user)
            )

        await eventually(written)
        booked = await database.fetchrow("SELECT * FROM usage_records WHERE user_id = $1", user)
        assert booked is not None
        assert ("final", searched) == (booked["kind"], booked["web_searches"])
        tokens = booked["prompt_tokens"] * INPUT + booked["completion_tokens"] * OUTPUT
        assert tokens + searched * A_SEARCH == booked["cost_nano_usd"]
        assert booked["cost_nano_usd"] <= booked["max_cost_nano_usd"]
        assert (
            booked["prompt_tokens"] * INPUT,
            0,
            booked["completion_tokens"] * OUTPUT,
            searched * A_SEARCH,
        ) == (
            booked["input_cost_nano_usd"],
            booked["cached_cost_nano_usd"],
            booked["output_cost_nano_usd"],
            booked["fees_nano_usd"],
        )
    finally:
        await database.close()
    used = await http.get(f"/usage/{user}", headers=own)
    assert searched == used.json()["total"]["web_searches"]


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"tools": [SEARCH | {"max_uses": 1001}]}, "tools[0].max_uses"),
        ({"tools": [SEARCH | {"max_uses": 0}]}, "tools[0].max_uses"),
        ({"tools": [SEARCH, SEARCH]}, "tools[1]"),
        ({"tools": [{"type": "web_fetch_20250910", "name": "web_fetch"}]}, "tools[0].type"),
        ({"TOOLS": [SEARCH | {"max_uses": 1}]}, "TOOLS[0].type"),
        ({"extra_body": {"tools": [SEARCH | {"max_uses": 1}]}}, "extra_body.tools[0].type"),
        ({"Store": True}, "Store"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
    ],
)
async def test_what_the_plan_does_not_allow_is_refused_by_name(
    stack: Stack, http: httpx.AsyncClient, asked: dict[str, Any], param: str
) -> None:
    own = await key(http, "curious.searcher")
    answer = await http.post("/v1/chat/completions", json=body(**asked), headers=own)

    assert (400, param) == (answer.status_code, answer.json()["error"]["param"]), answer.text


async def test_an_answer_is_kept_by_the_provider_where_the_plan_allows_it(
    stack: Stack, http: httpx.AsyncClient, provider: Simulator
) -> None:
    own = await key(http, "keeping.searcher")
    kept = body(model="small", store=True, max_tokens=7)
    answer = await http.post("/v1/chat/completions", json=kept, headers=own)

    assert 200 == answer.status_code, answer.text
    sent = [one["body"] for one in await provider.requests() if one["body"].get("store") is not None]
    assert [True] == [one["store"] for one in sent if one.get("max_tokens") == 7]
