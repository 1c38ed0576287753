"""Replays and savings over requests that all services together have served."""

from typing import Any

import httpx
import openai
from lumni.selector.v1 import selector_pb2

from services.gateway import postgres
from tests.flow.stack import ADMIN_KEY, Stack
from tests.flow.test_cli import lumni
from tests.gateway.conftest import eventually

REQUESTS = 6


async def test_what_was_served_is_replayed_to_the_nano_dollar_and_a_mistake_names_its_field(
    stack: Stack, client: openai.AsyncOpenAI
) -> None:
    ids = []
    for number in range(REQUESTS):
        answer = await client.chat.completions.create(
            model="auto" if number else "large",
            messages=[{"role": "user", "content": f"What is 17 times {number}?"}],
        )
        assert answer.model_extra is not None
        ids.append(answer.model_extra["lumni"]["request_id"])
    async with (
        postgres.pool(stack.database) as pool,
        httpx.AsyncClient(
            base_url=stack.rest, headers={"authorization": f"Bearer {ADMIN_KEY}"}, timeout=60
        ) as admin,
    ):

        async def written() -> bool:
            decided = await pool.fetchval(
                "SELECT count(*) FROM model_selections WHERE request_id = ANY($1)", ids
            )
            used = await pool.fetchval("SELECT count(*) FROM usage_records WHERE request_id = ANY($1)", ids)
            return bool(decided == used == REQUESTS)

        await eventually(written)
        rows = await pool.fetch(
            "SELECT decided_at, asked FROM model_selections WHERE request_id = ANY($1)", ids
        )
        cost = await pool.fetchval(
            "SELECT sum(cost_nano_usd)::bigint FROM usage_records WHERE request_id = ANY($1)", ids
        )
        began, ended = min(row["decided_at"] for row in rows), max(row["decided_at"] for row in rows)
        span = {"from": began.isoformat(), "to": (ended + (ended - began) / 1000).isoformat()}

        async def replayed(**asked: Any) -> httpx.Response:
            return await admin.post("/admin/replay", json={**span, **asked})

        same = (await replayed()).json()
        refused = await replayed(lumni_yaml="selector: {powerful_share: 7}")
        stranger = await replayed(lumni="")

    states = [selector_pb2.Asked.FromString(row["asked"]).circumstances for row in rows]
    assert all(one.selected_unix_s > 0 and not one.incomplete for one in states)
    # What has no key was not callable then, and so is not selected now.
    assert any(state.not_callable for one in states for state in one.states)
    total = same["total"]
    assert (REQUESTS, cost, cost) == (total["requests"], total["then_nano_usd"], total["now_nano_usd"])
    assert total["models_then"] == total["models_now"]
    assert [] == same["not_replayed"]
    assert (400, "lumni_yaml") == (refused.status_code, refused.json()["error"]["param"])
    assert 400 == stranger.status_code


async def test_the_command_shows_a_replay_and_the_savings(stack: Stack) -> None:
    code, text, err = await lumni(stack, "replay", "--since", "1h", "--share", "0")
    assert (0, "") == (code, err)
    assert "would have" in text or "No request" in text
    code, text, err = await lumni(stack, "savings", "--since", "1h")
    assert (0, "") == (code, err)
    assert "Against the most powerful model" in text
    code, _, err = await lumni(stack, "replay", "--since", "yesterday")
    assert (1, True) == (code, "7d" in err)
