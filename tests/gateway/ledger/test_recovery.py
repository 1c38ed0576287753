"""Attempts and reservations that no event ends."""

from services.chassis import redis, redis_keys
from services.gateway import postgres
from services.gateway.config.budgets import Budget, Period
from services.gateway.ledger import event_rows
from services.gateway.limits.admission import Limits
from tests.gateway.conftest import eventually
from tests.gateway.ledgers import Ledger, written
from tests.gateway.money import (
    PARTIAL,
    STARTED,
    admit,
    append,
    caller,
    event,
    held,
    spent,
)


async def test_an_attempt_without_an_end_is_closed_at_its_bound_and_corrected_when_the_end_comes(
    pool: postgres.Pool, client: redis.Redis
) -> None:
    ledger = Ledger(pool, client, grace_s=0.3)
    limits = Limits(client, pool, billable_attempts=1, timeout_s=0.1)
    who = caller(budget=Budget(5000, Period.TOTAL))
    admission = await admit(limits, who)
    async with ledger.open():
        await append(client, event(STARTED, request=admission.request_id, bound=900))
        await written(pool, 1)
        row = await pool.fetchrow("SELECT kind, cost_nano_usd FROM usage_records")
        assert row is not None
        assert ("unknown", 900) == tuple(row.values())

        async def published() -> bool:
            return 900 == await spent(client, "key:k1")

        await eventually(published)

        await append(client, event(PARTIAL, request=admission.request_id, cost=350, bound=900))

        async def corrected() -> bool:
            return 350 == await spent(client, "key:k1")

        await eventually(corrected)
    rows = await pool.fetch("SELECT kind, cost_nano_usd FROM usage_records")
    assert [("partial", 350)] == [tuple(one.values()) for one in rows]
    sums = await pool.fetch("SELECT attempts, cost_nano_usd FROM usage_metrics ORDER BY kind")
    assert [(1, 350), (0, 0)] == [tuple(one.values()) for one in sums]


async def test_a_reservation_nobody_settles_is_given_back_only_when_nothing_is_under_way(
    pool: postgres.Pool, client: redis.Redis
) -> None:
    ledger = Ledger(pool, client)
    limits = Limits(client, pool, billable_attempts=1)
    who = caller(budget=Budget(5000, Period.TOTAL))
    idle, busy = await admit(limits, who), await admit(limits, who)
    await ledger.store.write([event_rows.usage(event(STARTED, request=busy.request_id).SerializeToString())])
    for one in (idle, busy):
        await client.zadd(redis_keys.reservations(), {one.request_id: 1})

    await ledger.recovery.release_abandoned()

    assert 1000 == await held(client, "key:k1")
    assert [busy.request_id.encode()] == await client.zrange(redis_keys.reservations(), 0, -1)


async def test_an_attempt_that_cannot_be_closed_is_set_aside_and_keeps_nobody_from_being_closed(
    pool: postgres.Pool, client: redis.Redis
) -> None:
    nul, negative = event(STARTED, request="nul"), event(STARTED, request="negative", bound=-1)
    nul.attempt.error_class = "b\0c"
    limits = Limits(client, pool, billable_attempts=1)
    idle = await admit(limits, caller(budget=Budget(5000, Period.TOTAL)))
    await client.zadd(redis_keys.reservations(), {idle.request_id: 1})
    async with Ledger(pool, client, grace_s=0.0).open():
        await append(client, nul, event(STARTED, request="good", bound=900), negative)
        await written(pool, 1)

        async def set_aside() -> bool:
            return bool(2 == await pool.fetchval("SELECT count(*) FROM poison_events"))

        await eventually(set_aside)

        async def released() -> bool:
            return 0 == await held(client, "key:k1")

        await eventually(released)

        async def closed() -> bool:
            return bool(0 == await pool.fetchval("SELECT count(*) FROM open_attempts"))

        await eventually(closed)
    assert ("good/1", 900) == tuple(
        (await pool.fetchrow("SELECT attempt_id, cost_nano_usd FROM usage_records") or {}).values()
    )
    assert {"nul/1", "negative/1"} == {
        row["entry_id"] for row in await pool.fetch("SELECT entry_id FROM poison_events")
    }
