"""Settlement against a real Valkey: once, by whichever comes first."""

import asyncio
import time

import pytest

from services.chassis import errors, redis, redis_keys
from services.gateway import postgres
from services.gateway.config.budgets import Budget, Period
from services.gateway.config.plans import Plan, Rate
from services.gateway.keys.permissions import Subject
from services.gateway.ledger import event_rows
from services.gateway.ledger.recovery import Recovery
from services.gateway.ledger.store import LedgerStore
from services.gateway.ledger.writer import LedgerWriter
from services.gateway.limits.admission import Limits
from tests.gateway.conftest import eventually
from tests.gateway.money import (
    FINAL,
    PARTIAL,
    TOTAL,
    Bill,
    Made,
    Offer,
    Used,
    a_whole_minute,
    admit,
    bill,
    caller,
    event,
    held,
    nothing_is_under_way,
    spent,
)


async def test_a_settlement_corrects_tokens_to_what_was_used(limits: Limits, client: redis.Redis) -> None:
    await a_whole_minute()
    who = caller(rate=Rate(tpm=100))
    admission = await admit(limits, who, tokens=90)
    with pytest.raises(errors.Exhausted) as caught:
        await admit(limits, who, tokens=60)
    assert "tokens" == caught.value.metadata["type"]

    limits.settle(admission, bill(admission, 0, tokens=40))

    async def corrected() -> bool:
        return b"40" == await client.hget(redis_keys.rate("key:k1"), "tokens")

    await eventually(corrected)
    await admit(limits, who, tokens=60)


async def test_a_settlement_replaces_the_reservation_by_the_cost(limits: Limits, client: redis.Redis) -> None:
    who = caller(budget=TOTAL, others=(Subject("user:u1", Rate(), Budget(5000, Period.TOTAL)),))
    admission = await admit(limits, who)
    assert 1000 == admission.reserved_nano_usd

    limits.settle(admission, bill(admission, 0, 399))

    async def settled() -> bool:
        return 399 == await spent(client, "key:k1") and 0 == await held(client, "key:k1")

    await eventually(settled)
    assert 399 == await spent(client, "user:u1")
    assert 0 == await held(client, "user:u1")
    await admit(limits, who, offers=[Offer(max_cost_nano_usd=601)])


async def test_who_leaves_gives_the_place_back_at_once_and_the_money_only_through_the_ledger(
    client: redis.Redis, pool: postgres.Pool
) -> None:
    who = caller(rate=Rate(parallel=1), budget=Budget(2000, Period.TOTAL))
    async with (limits := Limits(client, pool, billable_attempts=1, grace_s=2)).delivering():
        admission = await admit(limits, who)
        limits.abandon(admission)

        async def place_is_free() -> bool:
            return not await client.zcard(redis_keys.live("key:k1"))

        await eventually(place_is_free)
        assert 1000 == await held(client, "key:k1")
        due = await client.zscore(redis_keys.reservations(), admission.request_id) or 0
        assert 0 < due - time.time() * 1000 <= 2000

        limits.settle(admission, bill(admission, 300))
        limits.abandon(admission)

    assert (300, 0) == (await spent(client, "key:k1"), await held(client, "key:k1"))
    assert None is await client.zscore(redis_keys.reservations(), admission.request_id)


async def test_the_same_settlement_twice_changes_nothing(limits: Limits, client: redis.Redis) -> None:
    first, second = caller("a", budget=TOTAL), caller("b", budget=TOTAL)
    admission, other = await admit(limits, first), await admit(limits, second)

    for _ in range(3):
        limits.settle(admission, bill(admission, 250, 250))
    limits.settle(other, bill(other, 7))

    async def all_settled() -> bool:
        return 7 == await spent(client, "key:b")

    await eventually(all_settled)
    assert 500 == await spent(client, "key:a")
    assert 0 == await held(client, "key:a")


async def test_tokens_are_corrected_also_when_the_ledger_was_faster(
    limits: Limits, client: redis.Redis, pool: postgres.Pool
) -> None:
    await a_whole_minute()
    admission = await admit(limits, caller(rate=Rate(tpm=1000), budget=TOTAL), tokens=900)
    ledger = LedgerWriter(client, LedgerStore(pool))
    await ledger.write(
        [event_rows.usage(event(FINAL, request=admission.request_id, cost=5).SerializeToString())]
    )
    assert 0 == await held(client, "key:k1")

    for _ in range(2):
        limits.settle(admission, bill(admission, 5, tokens=10))

    async def corrected() -> bool:
        return b"10" == await client.hget(redis_keys.rate("key:k1"), "tokens")

    await eventually(corrected)
    assert b"10" == await client.hget(redis_keys.rate("key:k1"), "settled")


async def test_hanging_up_gives_no_tokens_back(
    limits: Limits, client: redis.Redis, pool: postgres.Pool
) -> None:
    await a_whole_minute()
    admission = await admit(limits, caller(rate=Rate(tpm=1000), budget=TOTAL), tokens=900)
    limits.abandon(admission)
    await eventually(lambda: nothing_is_under_way(client))
    store = LedgerStore(pool)
    ledger = LedgerWriter(client, store)
    await ledger.write(
        [event_rows.usage(event(PARTIAL, request=admission.request_id, cost=700).SerializeToString())]
    )
    await client.zadd(redis_keys.reservations(), {admission.request_id: 1})

    await Recovery(client, store, ledger).release_abandoned()

    assert 0 == await held(client, "key:k1")
    assert b"900" == await client.hget(redis_keys.rate("key:k1"), "tokens")


async def test_without_any_grace_leaving_is_no_settlement(client: redis.Redis, pool: postgres.Pool) -> None:
    async with (limits := Limits(client, pool, billable_attempts=1, grace_s=0)).delivering():
        admission = await admit(limits, caller(rate=Rate(parallel=1), budget=TOTAL))
        limits.abandon(admission)
        await eventually(lambda: nothing_is_under_way(client))

    assert 1000 == await held(client, "key:k1")


async def test_a_fallback_counts_for_its_models_limit_once_it_happened(
    limits: Limits, client: redis.Redis
) -> None:
    await a_whole_minute()
    plan = Plan("test", model_rates={"gpt": Rate(rpm=9), "mini": Rate(rpm=1)})
    offers = [Offer("paid", "gpt"), Offer("other", "mini")]
    spared, fallen = [await admit(limits, caller(plan=plan), offers=offers) for _ in range(2)]
    limits.settle(spared, Bill([Made(f"{spared.request_id}/1", 1, "gpt")], Used(7)))

    for _ in range(2):
        made = [Made(f"{fallen.request_id}/1", 0, "gpt"), Made(f"{fallen.request_id}/2", 1, "mini")]
        limits.settle(fallen, Bill(made, Used(5)))

    async def counted() -> bool:
        at = await client.hmget(redis_keys.rate("key:k1:model:mini"), ["requests", "tokens"])
        return [b"1", b"5"] == at

    await eventually(counted)
    assert ("paid",) == (await admit(limits, caller(plan=plan), offers=offers)).deployments


async def test_a_settlement_that_cannot_be_sent_ends_no_other(limits: Limits, client: redis.Redis) -> None:
    bad, good = await admit(limits, caller("a", budget=TOTAL)), await admit(limits, caller("b", budget=TOTAL))
    # No JSON of ours holds so large a number.
    limits.settle(bad, bill(bad, 2**70))
    await asyncio.sleep(0)

    async def settled() -> bool:
        limits.settle(good, bill(good, 7))
        return 7 == await spent(client, "key:b")

    await eventually(settled)
