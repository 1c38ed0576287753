"""`learning: on` through all services: what simulated users like is answered more often, and `off` takes it back."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import count

import pytest

from services.chassis import redis
from services.gateway import postgres
from services.gateway.learning.learner import Learner
from tests.flow.operated import PLANS, Operated
from tests.flow.stack import ADMIN_KEY
from tests.gateway.conftest import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")
ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}
USERS = 25
# Requests before anything is learnt, those that decide whether it may act, and those that are counted at the end.
BEFORE, DECIDING, COUNTED = 150, 200, 50
ON = f"{PLANS}learning: on\nexploration: {{share: 0.2, budget_usd: 100}}\n"
AT_ONCE = 8
LIKED = "large"
OF_USERS = "user_id LIKE 'learner-%'"
WRITTEN = f"""
SELECT count(*) FROM learning_choices c
WHERE {OF_USERS} AND EXISTS (SELECT FROM usage_records u WHERE u.request_id = c.request_id AND u.kind = 'final')
"""
DIFFERS = f"SELECT EXISTS (SELECT FROM learning_choices WHERE {OF_USERS} AND learned_model <> current_model)"


@asynccontextmanager
async def learning(operated: Operated) -> AsyncIterator[None]:
    """Learning on until the block ends."""
    file = operated.folder.parent / "config" / "lumni.yaml"
    file.write_text(ON)
    try:
        yield
    finally:
        file.write_text(PLANS)


async def test_feedback_moves_the_share_of_a_model_and_off_takes_it_back(operated: Operated) -> None:
    numbers, keys = count(), []
    for n in range(USERS):
        made = await operated.client.post(
            "/admin/keys", json={"user_id": f"learner-{n}", "models": ["small", "large"]}, headers=ADMIN
        )
        keys.append({"authorization": f"Bearer {made.json()['key']}"})

    async def asked(number: int, *, tells: bool) -> str:
        key = keys[number % USERS]
        body = {
            "model": "auto",
            "messages": [{"role": "user", "content": f"What is 17 times {number}?"}],
            "lumni": {"task_type": "fast", "strategy": "quality"},
        }
        answer = await operated.client.post("/v1/chat/completions", json=body, headers=key)
        assert answer.is_success, answer.text
        model = str(answer.json()["lumni"]["model"])
        if tells:
            verdict = {"request_id": answer.headers["x-request-id"], "value": 10 if model == LIKED else -10}
            assert (await operated.client.post("/v1/feedback", json=verdict, headers=key)).is_success
        return model

    async def many(how_many: int, *, tells: bool) -> Counter[str]:
        async def some(mine: Iterable[int]) -> list[str]:
            return [await asked(next(numbers), tells=tells) for _ in mine]

        parts = await asyncio.gather(*(some(range(k, how_many, AT_ONCE)) for k in range(AT_ONCE)))
        return Counter(model for part in parts for model in part)

    async with (
        # A sum of a day may take long.
        postgres.pool(operated.stack.database, timeout_s=30) as pool,
        redis.connect(operated.stack.valkey, timeout_s=5) as client,
    ):

        async def learnt(requests: int) -> None:
            """Sum what the ledger has of all requests so far, as its process does every five minutes."""

            async def written() -> bool:
                return bool(await pool.fetchval(WRITTEN) >= requests)

            async def summed() -> bool:
                return await Learner(pool, client).round(datetime.now(UTC))

            await eventually(written)
            # Not while the ledger's own process does, which may have begun before the last were written.
            await eventually(summed)

        async def recorded() -> bool:
            await asked(next(numbers), tells=False)
            return bool(await pool.fetchval(WRITTEN))

        async def differs() -> bool:
            await asked(next(numbers), tells=False)
            return bool(await pool.fetchval(DIFFERS))

        async def acts() -> bool:
            # More than exploring alone ever makes of ten.
            return (await many(10, tells=False))[LIKED] > 8

        async def is_off() -> bool:
            return not (await many(10, tells=False))[LIKED]

        async with learning(operated):
            await eventually(recorded)
            before = await many(BEFORE, tells=True)
            await learnt(BEFORE)
            await eventually(differs)
            deciding = await many(DECIDING, tells=True)
            await learnt(BEFORE + DECIDING)
            await eventually(acts)
            after = await many(COUNTED, tells=False)
        await eventually(is_off)
        off = await many(COUNTED, tells=False)

    # A fifth of the requests may explore, until evidence acts.
    assert 0 < before[LIKED] < 0.4 * BEFORE, before
    assert 0 < deciding[LIKED] < 0.4 * DECIDING, deciding
    assert after[LIKED] > 0.6 * COUNTED, after
    assert {"small": COUNTED} == off
