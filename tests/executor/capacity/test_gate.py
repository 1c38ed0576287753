"""The permission to call a deployment."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from services.chassis.deployments import Deployment
from services.executor.attempts.model import Attempt, AttemptState, Skip
from services.executor.capacity.breaker import Breakers, BreakerState, Thresholds
from services.executor.capacity.gate import CapacityGate
from services.executor.capacity.quotas import LocalQuotaCounter, Quota, QuotaCounter, Take
from services.executor.capacity.redis_state import RedisBreakerStore, RedisGuard
from services.executor.engines.outcomes import ErrorClass
from services.executor.engines.usage import Usage
from tests.executor.fleet import deployment


def gate_of(counter: QuotaCounter, **more: Any) -> CapacityGate:
    thresholds = Thresholds(allowed_fails=0, **more)
    return CapacityGate(
        Breakers(RedisBreakerStore(RedisGuard(None), "r"), lambda: thresholds), counter, queue=1
    )


def ended(one: Deployment, **more: Any) -> Attempt:
    return replace(Attempt("r/1", one, 0, 0, state=AttemptState.FINAL), **more)


async def test_a_deployment_is_paused_when_its_provider_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    gate, one = gate_of(LocalQuotaCounter()), deployment("http://x")
    permit = await gate.acquire(one, 1, 0)
    assert not isinstance(permit, Skip)
    permit.release(
        ended(one, state=AttemptState.FAILED, error=ErrorClass.RATE_LIMIT, status_code=429), {}, 0.1
    )

    skipped = await gate.acquire(one, 1, 0)
    assert isinstance(skipped, Skip)
    assert skipped.reason == "rate_limited"
    now += 0.11
    assert not isinstance(await gate.acquire(one, 1, 0), Skip)
    assert gate.breaker(one.id) is BreakerState.CLOSED


async def test_an_open_breaker_a_used_quota_and_full_slots_are_different_skips() -> None:
    gate = gate_of(LocalQuotaCounter())
    down, limited, full = (deployment("http://x", id=name) for name in ("down", "limited", "full"))
    limited = deployment("http://x", id="limited", rpm=1)
    full = deployment("http://x", id="full", max_parallel_requests=1)
    for one in (down, limited, full):
        permit = await gate.acquire(one, 1, 0)
        assert not isinstance(permit, Skip)
        if one is down:
            permit.release(
                ended(one, state=AttemptState.FAILED, error=ErrorClass.SERVER_ERROR, status_code=500),
                {},
                None,
            )
            await gate.settle()

    skips = [await gate.acquire(one, 1, 0) for one in (down, limited, full)]

    assert [one.reason for one in skips if isinstance(one, Skip)] == ["breaker_open", "rate_limited", "busy"]


async def test_tokens_over_the_estimate_are_counted_afterwards() -> None:
    gate, one = gate_of(LocalQuotaCounter()), deployment("http://x", tpm=100)
    permit = await gate.acquire(one, 10, 0)
    assert not isinstance(permit, Skip)
    permit.release(ended(one, usage=Usage(50, 60)), {}, None)
    await gate.settle()

    assert isinstance(await gate.acquire(one, 10, 0), Skip)
    [headroom] = gate.state(one).headroom.values()
    assert (headroom.quota, headroom.total) == ("tpm", 100)


async def test_the_providers_own_headers_are_believed_about_headroom() -> None:
    gate, one = gate_of(LocalQuotaCounter()), deployment("http://x", rpm=1000)
    permit = await gate.acquire(one, 1, 0)
    assert not isinstance(permit, Skip)
    headers = {
        "x-ratelimit-limit-requests": "5",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "30s",
    }
    permit.release(ended(one), headers, None)

    headroom = gate.state(one).headroom["rpm"]
    assert (headroom.total, headroom.remaining, headroom.by_provider) == (5, 0, True)
    assert headroom.resets_unix_s == pytest.approx(time.time() + 30, abs=5)
    assert isinstance(await gate.acquire(one, 1, 0), Skip)


class BrokenCounter(LocalQuotaCounter):
    """A counter with a mistake in it."""

    async def take(self, ident: str, quotas: Sequence[Quota], tokens: int) -> Take:
        """Fail."""
        raise ZeroDivisionError


async def test_whatever_goes_wrong_at_the_gate_keeps_neither_a_slot_nor_the_probe() -> None:
    gate = gate_of(BrokenCounter(), cooldown_s=0)
    one = deployment("http://x", max_parallel_requests=1)
    await fail(gate, one)
    limited = replace(one, rpm=5)

    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            await gate.acquire(limited, 1, 0)
    assert gate.state(one).slots.in_use == 0
    assert not isinstance(await gate.acquire(one, 1, 0), Skip)


async def fail(gate: CapacityGate, one: Deployment, error: ErrorClass = ErrorClass.SERVER_ERROR) -> None:
    permit = await gate.acquire(one, 1, 0)
    assert not isinstance(permit, Skip)
    permit.release(ended(one, state=AttemptState.FAILED, error=error, status_code=400), {}, None)
    await gate.settle()


async def test_what_does_not_count_neither_closes_a_breaker_nor_dilutes_the_share() -> None:
    gate, one = gate_of(LocalQuotaCounter(), cooldown_s=0), deployment("http://x")
    for _ in range(20):
        await fail(gate, one, ErrorClass.BAD_REQUEST)
        await fail(gate, one, ErrorClass.RATE_LIMIT)
    await fail(gate, one)
    assert gate.breaker(one.id) is BreakerState.HALF_OPEN

    await fail(gate, one, ErrorClass.BAD_REQUEST)
    assert gate.breaker(one.id) is BreakerState.HALF_OPEN
    permit = await gate.acquire(one, 1, 0)
    assert not isinstance(permit, Skip)
    permit.release(ended(one), {}, None)
    assert gate.breaker(one.id) is BreakerState.CLOSED


async def test_the_last_conclusive_call_shows_whether_a_deployment_works() -> None:
    gate, one = gate_of(LocalQuotaCounter()), deployment("http://x")
    seen = [gate.state(one).last_error]
    for error in (ErrorClass.BAD_REQUEST, ErrorClass.NOT_FOUND, ErrorClass.RATE_LIMIT):
        await fail(gate, one, error)
        seen.append(gate.state(one).last_error)
    permit = await gate.acquire(one, 1, 0)
    assert not isinstance(permit, Skip)
    permit.release(ended(one), {}, None)
    seen.append(gate.state(one).last_error)
    await fail(gate, one, ErrorClass.AUTHENTICATION)
    seen.append(gate.state(one).last_error)

    gone = ErrorClass.NOT_FOUND
    assert seen == [None, None, gone, gone, None, ErrorClass.AUTHENTICATION]


async def test_a_provider_cannot_pause_its_deployment_for_more_than_a_day() -> None:
    gate, one = gate_of(LocalQuotaCounter()), deployment("http://x")
    permit = await gate.acquire(one, 1, 0)
    assert not isinstance(permit, Skip)
    permit.release(
        ended(one, state=AttemptState.FAILED, error=ErrorClass.RATE_LIMIT, status_code=429), {}, 1e18
    )

    skipped = await gate.acquire(one, 1, 0)
    assert isinstance(skipped, Skip)
    assert 0 < (skipped.retry_after_s or 0) <= 86400
