"""Admission and settlement against a real Valkey: exact, atomic, idempotent."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis import errors, redis, redis_keys, status
from services.gateway import postgres
from services.gateway.config.budgets import Budget, Period, token
from services.gateway.config.plans import AtLimit, Plan, Rate, WithoutRedis
from services.gateway.keys.authenticator import Subject
from services.gateway.ledger import rows
from services.gateway.ledger.__main__ import Bookkeeper
from services.gateway.ledger.store import Journal
from services.gateway.limits import admission
from services.gateway.limits.admission import Admission, Limits
from services.local.valkey import Valkey
from tests.gateway.conftest import eventually
from tests.gateway.money import (
    FINAL,
    FREE,
    PARTIAL,
    Bill,
    Made,
    Offer,
    Used,
    admit,
    bill,
    caller,
    event,
    held,
    spent,
    this_minute_ends_in,
)

TOTAL = Budget(1000, Period.TOTAL)


@pytest.fixture
async def limits(client: redis.Redis, pool: postgres.Pool) -> AsyncIterator[Limits]:
    async with (one := Limits(client, pool, billable_attempts=1)).delivering():
        yield one


@pytest.fixture
async def three(valkey: str, pool: postgres.Pool) -> AsyncIterator[list[Limits]]:
    """Three gateways' limits, each with connections of its own."""
    async with AsyncExitStack() as stack:
        made = []
        for _ in range(3):
            client = await stack.enter_async_context(redis.connect(valkey, timeout_s=5))
            one = Limits(client, pool, billable_attempts=1)
            await stack.enter_async_context(one.delivering())
            made.append(one)
        yield made


async def a_whole_minute() -> None:
    """Wait for the next window when this one is nearly over, so that a test sees one window only."""
    if this_minute_ends_in() < 5:
        await asyncio.sleep(this_minute_ends_in() + 0.05)


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


async def test_of_10000_requests_exactly_the_limit_is_admitted_over_three_gateways(
    three: list[Limits],
) -> None:
    await a_whole_minute()
    who = caller(rate=Rate(rpm=3000))

    answers = await asyncio.gather(*(admit(three[i % 3], who) for i in range(10_000)), return_exceptions=True)

    admitted = [answer.admitted_unix_ms // 60_000 for answer in answers if isinstance(answer, Admission)]
    assert {admitted[0]: 3000} == Counter(admitted)
    assert 7000 == sum(isinstance(answer, errors.Exhausted) for answer in answers)


async def test_tokens_are_reserved_and_never_exceed_the_limit(three: list[Limits]) -> None:
    await a_whole_minute()
    who = caller(rate=Rate(tpm=1000))

    answers = await asyncio.gather(
        *(admit(three[i % 3], who, tokens=90) for i in range(60)), return_exceptions=True
    )

    assert 11 == sum(isinstance(answer, Admission) for answer in answers)


async def test_a_settlement_corrects_tokens_to_what_was_used(limits: Limits, client: redis.Redis) -> None:
    await a_whole_minute()
    who = caller(rate=Rate(tpm=100))
    admission = await admit(limits, who, tokens=90)
    with pytest.raises(errors.Exhausted) as caught:
        await admit(limits, who, tokens=60)
    assert "tokens" == caught.value.metadata["type"]

    await limits.settle(admission, bill(admission, 0, tokens=40))

    async def corrected() -> bool:
        return b"40" == await client.hget(redis_keys.rate("key:k1"), "tokens")

    await eventually(corrected)
    await admit(limits, who, tokens=60)


async def test_a_refusal_counts_for_nobody(limits: Limits, client: redis.Redis) -> None:
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


async def test_a_refused_caller_is_refused_from_memory_until_the_reset(
    limits: Limits, client: redis.Redis
) -> None:
    await a_whole_minute()
    who = caller(rate=Rate(rpm=1))
    await admit(limits, who)
    with pytest.raises(errors.Exhausted) as first:
        await admit(limits, who)
    await client.flushall()

    with pytest.raises(errors.Exhausted) as second:
        await admit(limits, who)

    assert 0 < (second.value.retry_after_s or 0) <= (first.value.retry_after_s or 0) <= 60
    limits.forget("key:k1")
    await admit(limits, who)


async def test_parallel_requests_are_limited_and_their_places_given_back(limits: Limits) -> None:
    who = caller(rate=Rate(parallel=2))
    first, _ = await admit(limits, who), await admit(limits, who)
    with pytest.raises(errors.Exhausted) as caught:
        await admit(limits, who)
    assert "parallel" == caught.value.metadata["limit"]

    await limits.settle(first, bill(first, 0))

    async def admitted_again() -> bool:
        try:
            await admit(limits, who)
        except errors.Exhausted:
            return False
        return True

    await eventually(admitted_again)


async def test_a_settlement_replaces_the_reservation_by_the_cost(limits: Limits, client: redis.Redis) -> None:
    who = caller(budget=TOTAL, others=(Subject("user:u1", Rate(), Budget(5000, Period.TOTAL)),))
    admission = await admit(limits, who)
    assert 1000 == admission.reserved_nano_usd

    await limits.settle(admission, bill(admission, 0, 399))

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
        due = await client.zscore(redis_keys.RESERVATIONS, admission.request_id) or 0
        assert 0 < due - time.time() * 1000 <= 2000

        await limits.settle(admission, bill(admission, 300))
        limits.abandon(admission)

    assert (300, 0) == (await spent(client, "key:k1"), await held(client, "key:k1"))
    assert None is await client.zscore(redis_keys.RESERVATIONS, admission.request_id)


async def test_the_same_settlement_twice_changes_nothing(limits: Limits, client: redis.Redis) -> None:
    first, second = caller("a", budget=TOTAL), caller("b", budget=TOTAL)
    admission, other = await admit(limits, first), await admit(limits, second)

    for _ in range(3):
        await limits.settle(admission, bill(admission, 250, 250))
    await limits.settle(other, bill(other, 7))

    async def all_told() -> bool:
        return 7 == await spent(client, "key:b")

    await eventually(all_told)
    assert 500 == await spent(client, "key:a")
    assert 0 == await held(client, "key:a")


async def test_the_same_request_asked_twice_is_reserved_once(limits: Limits, client: redis.Redis) -> None:
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
    plan = Plan("test", model_rates={"gpt": Rate(rpm=1)})
    offers = [Offer("paid", "gpt"), Offer("other", "mini")]

    first = await admit(limits, caller(plan=plan), offers=offers)
    second = await admit(limits, caller(plan=plan), offers=offers)
    with pytest.raises(errors.Exhausted) as caught:
        await admit(limits, caller(plan=plan), offers=offers[:1])

    assert (("paid", "other"), ("other",)) == (first.deployments, second.deployments)
    assert "RATE_LIMIT_EXCEEDED" == caught.value.reason


async def test_headers_tell_the_tightest_limit_and_when_it_is_whole_again(limits: Limits) -> None:
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


@pytest.mark.parametrize("period", list(Period))
async def test_redis_names_the_periods_as_python_does(
    limits: Limits, client: redis.Redis, period: Period
) -> None:
    admission = await admit(limits, caller(budget=Budget(1000, period)))

    now = datetime.fromtimestamp(admission.admitted_unix_ms / 1000, UTC)
    assert 1 == await client.exists(redis_keys.spent("key:k1", token(period, now)))


ADMIT = Path(admission.__file__).with_name("admit.lua").read_text()
CALENDAR = """
local from = string.find(ARGV[1], '-- Howard')
local to = string.find(ARGV[1], 'local function refuse')
local source = 'local now = ...; ' .. string.sub(ARGV[1], from, to - 1) ..
  " return {(period('day')), (period('week')), (period('month'))}"
return loadstring(source)(tonumber(ARGV[2]))
"""


@given(moment=st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2199, 12, 31)))
async def test_the_script_knows_the_calendar(moment: datetime, valkey_server: Valkey) -> None:
    when = moment.replace(tzinfo=UTC)
    async with redis.connect(valkey_server.url, timeout_s=5) as client:
        found = await client.eval(CALENDAR, 0, ADMIT, str(int(when.timestamp() * 1000)))

    assert [token(p, when) for p in (Period.DAY, Period.WEEK, Period.MONTH)] == [
        one.decode() for one in found
    ]


async def test_without_redis_an_allowing_plan_counts_locally(
    make_valkey: Callable[[], Valkey], pool: postgres.Pool
) -> None:
    server = make_valkey()
    await server.start()
    who = caller(rate=Rate(rpm=3), budget=TOTAL)
    async with redis.connect(server.url, timeout_s=0.05) as client:
        async with (limits := Limits(client, pool, billable_attempts=1)).delivering():
            await server.stop()

            answers = [await admit(limits, who) for _ in range(3)]
            with pytest.raises(errors.Exhausted):
                await admit(limits, who)
            assert not limits.exact

    assert {0} == {answer.admitted_unix_ms for answer in answers}


async def test_without_redis_a_denying_plan_denies(
    make_valkey: Callable[[], Valkey], pool: postgres.Pool
) -> None:
    server = make_valkey()
    await server.start()
    async with redis.connect(server.url, timeout_s=0.05) as client:
        async with (limits := Limits(client, pool)).delivering():
            await server.stop()

            with pytest.raises(errors.Unavailable) as caught:
                await admit(limits, caller(plan=Plan("test", redis_down=WithoutRedis.DENY)))

    assert 1 == caught.value.retry_after_s


async def test_a_frozen_redis_costs_one_deadline_and_not_one_for_each_request(
    make_valkey: Callable[[], Valkey], pool: postgres.Pool
) -> None:
    server = make_valkey()
    await server.start()
    async with redis.connect(server.url, timeout_s=0.05) as client:
        limits = Limits(client, pool, billable_attempts=1)
        async with limits.delivering():
            admission = await admit(limits, caller(budget=TOTAL))
            server.pause()
            waited = []
            for _ in range(200):
                began = time.perf_counter()
                await admit(limits, caller(budget=TOTAL))
                waited.append(time.perf_counter() - began)
            await limits.settle(admission, bill(admission, 400))
            server.resume()

            async def settled() -> bool:
                try:
                    return 400 == await spent(client, "key:k1") and limits.exact
                except redis.ERRORS:
                    return False

            await eventually(settled)
    # Only the first caller waited, for one deadline.
    assert sum(one < 0.02 for one in waited) >= 195


async def test_limits_are_exact_again_by_themselves_when_redis_returns(
    make_valkey: Callable[[], Valkey], pool: postgres.Pool
) -> None:
    server = make_valkey()
    await server.start()
    who = caller(rate=Rate(rpm=1000))
    async with (
        redis.connect(server.url, timeout_s=0.05) as client,
        (limits := Limits(client, pool)).delivering(),
    ):
        server.pause()
        assert 0 == (await admit(limits, who)).admitted_unix_ms
        server.resume()

        async def counted() -> bool:
            return (await admit(limits, who)).admitted_unix_ms > 0

        await eventually(counted)


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
            await limits.settle(first, bill(first, 0))
            await eventually(lambda: nobody_is_under_way(client))
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
                return bool(await client.zscore(redis_keys.RESERVATIONS, "r1")) and await nobody_is_under_way(
                    client
                )

            await eventually(reserved_and_left)
            due = await client.zscore(redis_keys.RESERVATIONS, "r1") or 0
    # The ledger may give the money back now, and not only when the request would have timed out.
    assert due - time.time() * 1000 <= 2000


async def nobody_is_under_way(client: redis.Redis) -> bool:
    return not await client.zcard(redis_keys.live("key:k1"))


async def test_tokens_are_corrected_also_when_the_ledger_was_faster(
    limits: Limits, client: redis.Redis, pool: postgres.Pool
) -> None:
    await a_whole_minute()
    admission = await admit(limits, caller(rate=Rate(tpm=1000), budget=TOTAL), tokens=900)
    told = Bookkeeper(client, Journal(pool))
    await told.book([rows.usage(event(FINAL, request=admission.request_id, cost=5).SerializeToString())])
    assert 0 == await held(client, "key:k1")

    for _ in range(2):
        await limits.settle(admission, bill(admission, 5, tokens=10))

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
    await eventually(lambda: nobody_is_under_way(client))
    ledger = Bookkeeper(client, Journal(pool))
    await ledger.book(
        [rows.usage(event(PARTIAL, request=admission.request_id, cost=700).SerializeToString())]
    )
    await client.zadd(redis_keys.RESERVATIONS, {admission.request_id: 1})

    await ledger.release_abandoned()

    assert 0 == await held(client, "key:k1")
    assert b"900" == await client.hget(redis_keys.rate("key:k1"), "tokens")


async def test_without_any_grace_leaving_is_no_settlement(client: redis.Redis, pool: postgres.Pool) -> None:
    async with (limits := Limits(client, pool, billable_attempts=1, grace_s=0)).delivering():
        admission = await admit(limits, caller(rate=Rate(parallel=1), budget=TOTAL))
        limits.abandon(admission)
        await eventually(lambda: nobody_is_under_way(client))

    assert 1000 == await held(client, "key:k1")


async def test_a_budget_that_only_requests_under_way_hold_is_worth_waiting_a_second_for(
    limits: Limits,
) -> None:
    who = caller(budget=Budget(1500, Period.MONTH))
    admission = await admit(limits, who)

    with pytest.raises(errors.Exhausted, match="held by requests under way") as caught:
        await admit(limits, who)
    assert 1 == caught.value.retry_after_s

    await limits.settle(admission, bill(admission, 1000))

    async def spent_for_good() -> bool:
        with pytest.raises(errors.Exhausted) as again:
            await admit(limits, who)
        return (again.value.retry_after_s or 0) > 1

    await eventually(spent_for_good)


async def test_of_two_spent_budgets_the_longer_one_says_when_to_come_back(
    limits: Limits, client: redis.Redis
) -> None:
    total = Subject("user:u1", Rate(), Budget(1000, Period.TOTAL))
    who = caller(budget=Budget(1000, Period.DAY), others=(total,))
    admission = await admit(limits, who)
    await limits.settle(admission, bill(admission, 1000))
    await eventually(lambda: nothing_is_held(client))

    with pytest.raises(errors.Exhausted, match="total budget of user u1") as caught:
        await admit(limits, who)

    assert None is caught.value.retry_after_s


async def nothing_is_held(client: redis.Redis) -> bool:
    return 0 == await held(client, "key:k1")


async def test_a_refusal_tells_the_limits_too_and_its_memory_counts_down(limits: Limits) -> None:
    await a_whole_minute()
    who = caller(rate=Rate(rpm=1, tpm=100))
    await admit(limits, who, tokens=30)

    faults = []
    for _ in range(2):
        with pytest.raises(errors.Exhausted) as caught:
            await admit(limits, who)
        faults.append(caught.value)
        await asyncio.sleep(0.11)

    for fault in faults:
        _, headers, _ = status.to_http(fault)
        assert ("1", "0") == (
            headers["x-ratelimit-limit-requests"],
            headers["x-ratelimit-remaining-requests"],
        )
        assert ("100", "70") == (
            headers["x-ratelimit-limit-tokens"],
            headers["x-ratelimit-remaining-tokens"],
        )
        assert f"try again in {fault.retry_after_s:.1f} s" in fault.message
    first, second = (float(one.metadata["x-ratelimit-reset-requests"].removesuffix("s")) for one in faults)
    assert 0 < second < first <= 60


async def test_a_refused_model_shows_its_own_limit(limits: Limits) -> None:
    plan = Plan("test", model_rates={"gpt": Rate(rpm=1)})
    await admit(limits, caller(plan=plan))

    with pytest.raises(errors.Exhausted) as caught:
        await admit(limits, caller(plan=plan))

    assert "0" == caught.value.metadata["x-ratelimit-remaining-requests"]


async def test_a_fallback_counts_for_its_models_limit_once_it_happened(
    limits: Limits, client: redis.Redis
) -> None:
    await a_whole_minute()
    plan = Plan("test", model_rates={"gpt": Rate(rpm=9), "mini": Rate(rpm=1)})
    offers = [Offer("paid", "gpt"), Offer("other", "mini")]
    spared, fallen = [await admit(limits, caller(plan=plan), offers=offers) for _ in range(2)]
    await limits.settle(spared, Bill([Made(f"{spared.request_id}/1", 1, "gpt")], Used(7)))

    for _ in range(2):
        made = [Made(f"{fallen.request_id}/1", 0, "gpt"), Made(f"{fallen.request_id}/2", 1, "mini")]
        await limits.settle(fallen, Bill(made, Used(5)))

    async def counted() -> bool:
        at = await client.hmget(redis_keys.rate("key:k1:model:mini"), ["requests", "tokens"])
        return [b"1", b"5"] == at

    await eventually(counted)
    assert ("paid",) == (await admit(limits, caller(plan=plan), offers=offers)).deployments


async def test_a_settlement_that_cannot_be_told_ends_no_other(limits: Limits, client: redis.Redis) -> None:
    bad, good = await admit(limits, caller("a", budget=TOTAL)), await admit(limits, caller("b", budget=TOTAL))
    # No JSON of ours holds so large a number.
    await limits.settle(bad, bill(bad, 2**70))
    await asyncio.sleep(0)

    async def told() -> bool:
        await limits.settle(good, bill(good, 7))
        return 7 == await spent(client, "key:b")

    await eventually(told)


async def test_every_way_of_failing_opens_the_breaker(
    make_valkey: Callable[[], Valkey], pool: postgres.Pool
) -> None:
    server = make_valkey()
    await server.start()
    async with redis.connect(server.url, timeout_s=0.5) as client:
        async with (limits := Limits(client, pool, billable_attempts=1)).delivering():
            admission = await admit(limits, caller(rate=Rate(rpm=100)))
            # It answers, but takes no more writes.
            await client.config_set("maxmemory", 1)
            assert 0 == (await admit(limits, caller(rate=Rate(rpm=100)))).admitted_unix_ms
            assert not limits.exact
            await client.config_set("maxmemory", 0)

            async def exact() -> bool:
                return limits.exact

            async def inexact() -> bool:
                return not limits.exact

            await eventually(exact)
            # Nobody asks, and a settlement alone finds out.
            await server.stop()
            await limits.settle(admission, bill(admission, 1))
            await eventually(inexact)


async def test_an_outage_is_said_once_and_not_for_every_request(
    make_valkey: Callable[[], Valkey], pool: postgres.Pool, caplog: pytest.LogCaptureFixture
) -> None:
    server = make_valkey()
    await server.start()
    who = caller(rate=Rate(rpm=1_000_000), budget=TOTAL)
    async with redis.connect(server.url, timeout_s=0.05) as client:
        async with (limits := Limits(client, pool, billable_attempts=1)).delivering():
            settled = await admit(limits, who)
            await server.stop()
            until = time.monotonic() + 1.5
            with caplog.at_level(logging.INFO):
                # Several probes, a settlement that is tried again and again, and a crowd.
                while time.monotonic() < until:
                    await limits.settle(settled, bill(settled, 1))
                    await asyncio.gather(*(admit(limits, who) for _ in range(20)))
                    await asyncio.sleep(0.01)
                await server.start()

                async def exact() -> bool:
                    return limits.exact

                await eventually(exact)

    said = [one.message for one in caplog.records if one.name.startswith("services.gateway")]
    assert ["Redis cannot count,", "limits are counted"] == [" ".join(one.split()[:3]) for one in said]
