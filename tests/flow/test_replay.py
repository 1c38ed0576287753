"""Replays and savings over requests that all services together have served."""

from datetime import UTC, datetime, timedelta
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


async def test_the_page_replays_what_the_ledger_has(
    stack: Stack, client: openai.AsyncOpenAI, admin: httpx.AsyncClient
) -> None:
    await client.chat.completions.create(model="large", messages=[{"role": "user", "content": "Hello"}])

    async def replayed() -> bool:
        began = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
        answer = await admin.post("/admin/replay", json={"from": began, "plan": "open"})
        return answer.is_success and answer.json()["total"]["requests"] > 0

    await eventually(replayed)
    async with httpx.AsyncClient(base_url=stack.rest, timeout=60, trust_env=False) as browser:
        form = (await browser.get("/dashboard/sign-in")).text
        signed_in = {"csrf": form.partition('name="csrf" value="')[2].partition('"')[0], "key": ADMIN_KEY}
        await browser.post("/dashboard/sign-in", data=signed_in)
        page = (await browser.get("/dashboard/replay")).text
        asked = {
            "csrf": page.partition('name="csrf" value="')[2].partition('"')[0],
            "days": "1",
            "plan": "open",
        }
        answer = await browser.post("/dashboard/replay", data=asked)

    assert 200 == answer.status_code
    assert "requests would have cost what they cost" in answer.text
    assert "Replay by category" in answer.text
    assert '<td class="name">open</td>' in answer.text


async def test_the_command_shows_a_replay_and_the_savings(stack: Stack) -> None:
    code, text, err = await lumni(stack, "replay", "--since", "1h", "--share", "0")
    assert (0, "") == (code, err)
    assert "would have" in text or "No request" in text
    code, text, err = await lumni(stack, "savings", "--since", "1h")
    assert (0, "") == (code, err)
    assert "Against the most powerful model" in text
    code, _, err = await lumni(stack, "replay", "--since", "yesterday")
    assert (1, True) == (code, "7d" in err)
