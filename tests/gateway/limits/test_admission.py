"""Admission against a real Valkey: exact, and all or nothing."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import pytest

from services.chassis import errors, redis, redis_keys
from services.gateway import postgres
from services.gateway.config.budgets import Budget, Period, token
from services.gateway.config.plans import AtLimit, Plan, Rate
from services.gateway.keys.permissions import Subject
from services.gateway.limits.admission import Admission, Limits
from services.local.valkey import Valkey
from tests.gateway.conftest import eventually
from tests.gateway.money import (
    FREE,
    TOTAL,
    Offer,
    a_whole_minute,
    admit,
    bill,
    caller,
    held,
    nothing_is_under_way,
)


async def test_of_50_concurrent_requests_on_a_budget_for_one_exactly_one_is_admitted(
    three: list[Limits], client: redis.Redis
) -> None:
    who = caller(budget=TOTAL)

    answers = await asyncio.gather(*(admit(three[i % 3], who) for i in range(50)), return_exceptions=True)

    admitted = [answer for answer in answers if isinstance(answer, Admission)]
    refused = [answer for answer in answers if isinstance(answer, errors.Exhausted)]
    assert (1, 49) == (len(admitted), len(refused))
    assert {"INSUFFICIENT_QUOTA"} == {fault.reason for fault in refused}
    assert 1000 == await held(client, "key:k1")


async def test_of_2000_requests_exactly_the_limit_is_admitted_over_three_gateways(
    three: list[Limits],
) -> None:
    await a_whole_minute(needed_s=20)
    who = caller(rate=Rate(rpm=600))

    answers = await asyncio.gather(*(admit(three[i % 3], who) for i in range(2000)), return_exceptions=True)

    assert 600 == sum(isinstance(answer, Admission) for answer in answers)
    assert 1400 == sum(isinstance(answer, errors.Exhausted) for answer in answers)


async def test_tokens_are_reserved_and_never_exceed_the_limit(three: list[Limits]) -> None:
    await a_whole_minute()
    who = caller(rate=Rate(tpm=1000))

    answers = await asyncio.gather(
        *(admit(three[i % 3], who, tokens=90) for i in range(60)), return_exceptions=True
    )

    assert 11 == sum(isinstance(answer, Admission) for answer in answers)


async def test_a_refusal_counts_for_no_subject(limits: Limits, client: redis.Redis) -> None:
    await a_whole_minute()
    who = caller(
        rate=Rate(rpm=5), budget=Budget(10_000, Period.TOTAL), others=(Subject("user:u1", Rate(rpm=1)),)
    )
    await admit(limits, who)

    for _ in range(3):
        with pytest.raises(errors.Exhausted):
            await admit(limits, who)
        limits.forget("user:u1")

    assert b"1" == await client.hget(redis_keys.rate("key:k1"), "requests")
    assert 1000 == await held(client, "key:k1")


async def test_parallel_requests_are_limited_and_their_places_given_back(limits: Limits) -> None:
    who = caller(rate=Rate(parallel=2))
    first, _ = await admit(limits, who), await admit(limits, who)
    with pytest.raises(errors.Exhausted) as caught:
        await admit(limits, who)
    assert "parallel" == caught.value.metadata["limit"]

    limits.settle(first, bill(first, 0))

    async def admitted_again() -> bool:
        try:
            await admit(limits, who)
        except errors.Exhausted:
            return False
        return True

    await eventually(admitted_again)


async def test_what_is_over_at_once_counts_and_holds_nothing(limits: Limits, client: redis.Redis) -> None:
    who = caller(rate=Rate(rpm=2, parallel=1), budget=TOTAL)

    async def count(ident: str) -> Admission:
        return await limits.counted(who, ident)

    first, second = await count("r1"), await count("r2")

    assert ["1", "0"] == [one.headers["x-ratelimit-remaining-requests"] for one in (first, second)]
    assert first.admitted_unix_ms
    assert [redis_keys.rate("key:k1").encode()] == await client.keys("*")
    with pytest.raises(errors.Exhausted) as caught:
        await count("r3")
    assert "requests" == caught.value.metadata["limit"]


async def test_the_same_request_sent_twice_is_reserved_once(limits: Limits, client: redis.Redis) -> None:
    who = caller(budget=TOTAL)

    first = await admit(limits, who, ident="r1")
    again = await admit(limits, who, ident="r1")

    assert first == again
    assert 1000 == await held(client, "key:k1")


async def test_candidates_that_the_budget_does_not_cover_are_left_out(limits: Limits) -> None:
    who = caller(budget=TOTAL)
    offers = [Offer("dear", "gpt", 5000), Offer("cheap", "mini", 600), Offer("cheaper", "nano", 300)]

    admission = await admit(limits, who, offers=offers)

    assert ("cheap", "cheaper") == admission.deployments
    assert 600 == admission.reserved_nano_usd


async def test_every_attempt_that_may_be_billed_is_reserved(client: redis.Redis, pool: postgres.Pool) -> None:
    limits = Limits(client, pool, billable_attempts=3)

    admission = await admit(limits, caller(budget=Budget(3000, Period.TOTAL)))

    assert 3000 == admission.reserved_nano_usd


@pytest.mark.parametrize(
    ("at_limit", "offers", "deployments"),
    [
        (AtLimit.FREE, [Offer(), FREE], ("local",)),
        (AtLimit.FREE, [FREE], ("local",)),
        (AtLimit.REFUSE, [Offer(), FREE], None),
        (AtLimit.REFUSE, [FREE], None),
        (AtLimit.FREE, [Offer()], None),
    ],
)
async def test_at_the_limit_the_plan_says_refuse_or_free_models(
    limits: Limits, at_limit: AtLimit, offers: list[Offer], deployments: tuple[str, ...] | None
) -> None:
    who = caller(plan=Plan("test", at_limit=at_limit), budget=TOTAL)
    await admit(limits, who)

    if deployments is None:
        with pytest.raises(errors.Exhausted) as caught:
            await admit(limits, who, offers=offers)
        assert "insufficient_quota" == caught.value.metadata["type"]
    else:
        admission = await admit(limits, who, offers=offers)
        assert (deployments, 0) == (admission.deployments, admission.reserved_nano_usd)


async def test_a_limit_for_one_model_takes_only_that_model_away(limits: Limits) -> None:
    await a_whole_minute()
    plan = Plan("test", model_rates={"gpt": Rate(rpm=1)})
    offers = [Offer("paid", "gpt"), Offer("other", "mini")]

    first = await admit(limits, caller(plan=plan), offers=offers)
    second = await admit(limits, caller(plan=plan), offers=offers)
    with pytest.raises(errors.Exhausted) as caught:
        await admit(limits, caller(plan=plan), offers=offers[:1])

    assert (("paid", "other"), ("other",)) == (first.deployments, second.deployments)
    assert "RATE_LIMIT_EXCEEDED" == caught.value.reason


async def test_headers_show_the_tightest_limit_and_when_it_is_whole_again(limits: Limits) -> None:
    await a_whole_minute()
    who = caller(rate=Rate(rpm=10, tpm=1000), others=(Subject("user:u1", Rate(rpm=3)),))

    shown = (await admit(limits, who, tokens=400)).headers

    assert ("3", "2") == (shown["x-ratelimit-limit-requests"], shown["x-ratelimit-remaining-requests"])
    assert ("1000", "600") == (shown["x-ratelimit-limit-tokens"], shown["x-ratelimit-remaining-tokens"])
    assert 0 < float(shown["x-ratelimit-reset-requests"].removesuffix("s")) <= 60


@pytest.mark.parametrize(("already", "warned"), [(799, False), (800, True)])
async def test_a_budget_that_runs_low_warns_exactly_from_its_soft_limit_on(
    limits: Limits, client: redis.Redis, already: int, warned: bool
) -> None:
    await client.hset(redis_keys.spent("key:k1", "total"), mapping={"ledger": already, "version": 1})

    admission = await admit(limits, caller(budget=TOTAL), offers=[Offer(max_cost_nano_usd=1)])

    assert warned == ("x-lumni-budget-warning" in admission.headers)


async def test_a_request_that_is_too_long_for_the_plan_is_refused_before_anything_is_reserved(
    limits: Limits, client: redis.Redis
) -> None:
    with pytest.raises(errors.TooLarge) as caught:
        await admit(limits, caller(plan=Plan("test", max_request_tokens=100)), tokens=101)

    assert "max_completion_tokens" == caught.value.param
    assert [] == await client.keys("*")


async def test_a_budget_unknown_to_redis_is_read_from_the_ledger(limits: Limits, pool: postgres.Pool) -> None:
    await pool.execute("INSERT INTO budget_spend VALUES ('key:k1', 'total', 401, 3)")

    with pytest.raises(errors.Exhausted):
        await admit(limits, caller(budget=TOTAL), offers=[Offer(max_cost_nano_usd=600)])
    await admit(limits, caller(budget=TOTAL), offers=[Offer(max_cost_nano_usd=599)])


async def test_what_is_reserved_counts_in_the_next_period_too(limits: Limits, client: redis.Redis) -> None:
    day = Budget(1000, Period.DAY)
    admission = await admit(limits, caller(budget=day))
    today = token(Period.DAY, datetime.fromtimestamp(admission.admitted_unix_ms / 1000, UTC))
    await client.rename(redis_keys.spent("key:k1", today), redis_keys.spent("key:k1", "day:1999-12-31"))

    with pytest.raises(errors.Exhausted):
        await admit(limits, caller(budget=day))


async def test_of_requests_over_the_edges_of_windows_exactly_the_limit_is_admitted_in_each(
    valkey: str, pool: postgres.Pool
) -> None:
    who = caller(rate=Rate(rpm=40))
    admitted: Counter[int] = Counter()
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(redis.connect(valkey, timeout_s=5)) for _ in range(3)]
        gateways = [Limits(client, pool, window_s=0.5) for client in clients]
        # Until three windows have begun and ended under load.
        while len(admitted) < 5:
            crowd = (admit(gateways[i % 3], who) for i in range(60))
            for answer in await asyncio.gather(*crowd, return_exceptions=True):
                if isinstance(answer, Admission):
                    admitted[answer.admitted_unix_ms // 500] += 1
                else:
                    assert isinstance(answer, errors.Exhausted)

    assert [40] * 3 == [admitted[window] for window in sorted(admitted)[1:-1]]


async def test_who_leaves_while_being_admitted_keeps_no_place(
    make_valkey: Callable[[], Valkey], pool: postgres.Pool
) -> None:
    server = make_valkey()
    await server.start()
    who = caller(rate=Rate(parallel=1), budget=TOTAL)
    async with redis.connect(server.url, timeout_s=20) as client:
        async with (limits := Limits(client, pool, billable_attempts=1, grace_s=2)).delivering():
            # Budgets are known and a connection is there, so that the next question goes straight to the script.
            first = await admit(limits, who)
            limits.settle(first, bill(first, 0))
            await eventually(lambda: nothing_is_under_way(client))
            server.pause()
            asking = asyncio.create_task(admit(limits, who, ident="r1"))

            async def sent() -> bool:
                return limits._admit._sender is not None and not limits._admit._waiting

            await eventually(sent)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            server.resume()

            async def reserved_and_left() -> bool:
                return bool(
                    await client.zscore(redis_keys.reservations(), "r1")
                ) and await nothing_is_under_way(client)

            await eventually(reserved_and_left)
            due = await client.zscore(redis_keys.reservations(), "r1") or 0
    # The ledger may give the money back now, and not only when the request would have timed out.
    assert due - time.time() * 1000 <= 2000
