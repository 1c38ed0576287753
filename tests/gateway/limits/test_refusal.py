"""What a refused caller reads, and which refusals are remembered."""

import asyncio
from typing import Any

import pytest

from services.chassis import errors, redis, status
from services.gateway.config.budgets import Budget, Period
from services.gateway.config.plans import Plan, Rate
from services.gateway.keys.permissions import Subject
from services.gateway.limits.admission import Limits
from services.gateway.limits.refusal import Refusal, RefusalMemory
from tests.gateway.conftest import eventually
from tests.gateway.money import (
    a_whole_minute,
    admit,
    bill,
    caller,
    nothing_is_held,
)


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


async def test_a_budget_that_only_requests_under_way_hold_is_worth_waiting_a_second_for(
    limits: Limits,
) -> None:
    who = caller(budget=Budget(1500, Period.MONTH))
    admission = await admit(limits, who)

    with pytest.raises(errors.Exhausted, match="held by requests under way") as caught:
        await admit(limits, who)
    assert 1 == caught.value.retry_after_s

    limits.settle(admission, bill(admission, 1000))

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
    limits.settle(admission, bill(admission, 1000))
    await eventually(lambda: nothing_is_held(client))

    with pytest.raises(errors.Exhausted, match="total budget of user u1") as caught:
        await admit(limits, who)

    assert None is caught.value.retry_after_s


async def test_a_refusal_shows_the_limits_too_and_its_memory_counts_down(limits: Limits) -> None:
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
    await a_whole_minute()
    plan = Plan("test", model_rates={"gpt": Rate(rpm=1)})
    await admit(limits, caller(plan=plan))

    with pytest.raises(errors.Exhausted) as caught:
        await admit(limits, caller(plan=plan))

    assert "0" == caught.value.metadata["x-ratelimit-remaining-requests"]


def a_refusal(**more: Any) -> Refusal:
    given: dict[str, Any] = {
        "subject": "user:ann",
        "kind": "requests",
        "limit": 1200,
        "retry_ms": 1500,
        "reset_ms": 9000,
    }
    return Refusal(**{**given, **more})


@pytest.mark.parametrize(
    ("refusal", "reason", "kind", "retry_after_s", "message"),
    [
        (
            a_refusal(),
            "RATE_LIMIT_EXCEEDED",
            "requests",
            1.5,
            "user ann may make 1,200 requests per minute; try again in 1.5 s",
        ),
        (
            a_refusal(kind="tokens"),
            "RATE_LIMIT_EXCEEDED",
            "tokens",
            1.5,
            "user ann may make 1,200 tokens per minute; try again in 1.5 s",
        ),
        (
            a_refusal(kind="parallel", limit=2),
            "RATE_LIMIT_EXCEEDED",
            "requests",
            1.5,
            "user ann may make 2 parallel requests; try again in 1.5 s",
        ),
        (
            a_refusal(kind="budget", period="day", limit=2_000_000_000, left=5, retry_ms=7_200_000),
            "INSUFFICIENT_QUOTA",
            "insufficient_quota",
            7200,
            (
                "the day budget of user ann does not cover this request: 0.000000005 USD are left of 2.000000000; "
                "it is whole again in 7,200 s"
            ),
        ),
        (
            a_refusal(kind="budget", period="day", limit=10, held=10, in_flight=True, retry_ms=1000),
            "INSUFFICIENT_QUOTA",
            "insufficient_quota",
            1,
            (
                "the day budget of user ann does not cover this request: 0.000000000 USD are left of 0.000000010, "
                "and 0.000000010 are held by requests under way; try again when they are over"
            ),
        ),
        (
            a_refusal(kind="budget", period="total", limit=10, retry_ms=0),
            "INSUFFICIENT_QUOTA",
            "insufficient_quota",
            None,
            "the total budget of user ann does not cover this request: 0.000000000 USD are left of 0.000000010",
        ),
    ],
)
def test_a_refusal_says_whose_limit_it_is_and_what_to_do(
    refusal: Refusal, reason: str, kind: str, retry_after_s: float | None, message: str
) -> None:
    fault = refusal.fault("here")

    assert (reason, kind, retry_after_s, message) == (
        fault.reason,
        fault.metadata["type"],
        fault.retry_after_s,
        fault.message,
    )


def test_only_what_is_sure_is_remembered_and_only_for_as_many_tokens() -> None:
    memory = RefusalMemory()

    memory.remember("unsure", a_refusal(), 10)
    memory.remember("requests", a_refusal(cacheable_ms=60_000), 10)
    memory.remember("tokens", a_refusal(kind="tokens", cacheable_ms=60_000), 10)
    memory.remember("over", a_refusal(cacheable_ms=0.000001), 10)

    assert None is memory.recall("unsure", 10)
    assert None is memory.recall("over", 10)
    assert None is memory.recall("tokens", 9)
    assert "tokens" == (memory.recall("tokens", 10) or a_refusal()).kind
    recalled = memory.recall("requests", 1)
    assert recalled
    assert 0 < recalled.retry_ms == recalled.reset_ms <= 60_000


def test_a_change_of_a_key_forgets_its_refusals_and_any_other_change_all() -> None:
    memory = RefusalMemory()
    for key in ("a", "b"):
        memory.remember(key, a_refusal(cacheable_ms=60_000), 1)

    memory.forget("key:a")
    assert (False, True) == (bool(memory.recall("a", 1)), bool(memory.recall("b", 1)))
    memory.forget("user:ann")
    assert None is memory.recall("b", 1)
