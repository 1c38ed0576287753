import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from services.chassis import redis
from services.chassis.deployments import Deployment, FreeQuota
from services.chassis.prices import Price, Row, rates_of
from services.executor.attempts.run import Attempt, Kind, Skip
from services.executor.capacity.breaker import Breakers, State, Thresholds
from services.executor.capacity.gate import Gatekeeper
from services.executor.capacity.quotas import Counter, Limit, LocalCounter, Places, from_headers, limits_of
from services.executor.capacity.redis_state import Link, RedisBoard, RedisCounter
from services.executor.engines.outcomes import ErrorClass
from services.executor.engines.usage import Usage
from tests.executor.fleet import deployment

RPM, TPM = Limit("rpm", 3), Limit("tpm", 100)


@pytest.fixture(params=["local", "shared"])
async def counter(request: pytest.FixtureRequest, valkey: str) -> AsyncIterator[Counter]:
    if request.param == "local":
        yield LocalCounter()
        return
    client = redis.connect(valkey, timeout_s=2)
    yield RedisCounter(Link(client))
    await client.aclose()


async def test_requests_beyond_a_limit_are_forbidden_until_its_window_ends(counter: Counter) -> None:
    answers = [await counter.take("d", [RPM], 10) for _ in range(5)]

    assert [forbidden for _, forbidden, _ in answers] == ["", "", "", "rpm", "rpm"]
    assert [used for used, _, _ in answers] == [[1], [2], [3], [3], [3]]
    assert 0 < answers[-1][2] <= 60


async def test_tokens_are_counted_and_corrected(counter: Counter) -> None:
    assert (await counter.take("d", [RPM, TPM], 60))[1] == ""
    assert (await counter.take("d", [RPM, TPM], 60))[1] == "tpm"
    await counter.add_tokens("d", [RPM, TPM], -50, time.time())

    used, forbidden, _ = await counter.take("d", [RPM, TPM], 60)

    assert (used, forbidden) == ([2, 70], "")


async def test_tokens_are_given_back_to_no_other_window_than_theirs(counter: Counter) -> None:
    assert (await counter.take("d", [RPM, TPM], 60))[1] == ""
    await counter.add_tokens("d", [RPM, TPM], -1000, time.time() - 61)

    assert (await counter.take("d", [RPM, TPM], 60))[1] == "tpm"
    # What a long answer took is taken now, whenever it began.
    await counter.add_tokens("d", [RPM, TPM], 30, time.time() - 61)
    assert (await counter.take("d", [RPM, TPM], 11))[1] == "tpm"
    assert (await counter.take("d", [RPM, TPM], 10))[1] == ""


async def test_what_is_forbidden_counts_against_nothing(counter: Counter) -> None:
    await counter.take("d", [RPM, TPM], 90)
    for _ in range(10):
        await counter.take("d", [RPM, TPM], 90)

    assert (await counter.take("d", [RPM, TPM], 1))[0] == [2, 91]


async def test_a_request_larger_than_a_whole_window_passes_alone(counter: Counter) -> None:
    assert (await counter.take("d", [TPM], 5000))[1] == ""
    assert (await counter.take("d", [TPM], 1))[1] == "tpm"


async def test_replicas_share_their_counts_exactly(valkey: str) -> None:
    clients = [redis.connect(valkey, timeout_s=2) for _ in range(3)]
    counters = [RedisCounter(Link(client)) for client in clients]
    minute, _ = Limit("rpm", 10).window(time.time())
    answers = await asyncio.gather(
        *(one.take("d", [Limit("rpm", 10)], 1) for one in counters for _ in range(20))
    )

    admitted = sum(not forbidden for _, forbidden, _ in answers)
    # The minute may turn in between.
    assert admitted == 10 or (Limit("rpm", 10).window(time.time())[0] != minute and admitted <= 20)
    for client in clients:
        await client.aclose()


def test_a_day_begins_at_midnight_where_the_provider_says() -> None:
    moment = datetime(2026, 11, 21, 7, 30, tzinfo=UTC).timestamp()
    _, ends = Limit("rpd", 1, "America/Los_Angeles").window(moment)

    assert datetime.fromtimestamp(ends, UTC) == datetime(2026, 11, 21, 8, 0, tzinfo=UTC)


def test_the_stricter_of_two_limits_holds() -> None:
    quota = FreeQuota(rpm=20, rpd=50)
    limits = limits_of(deployment("http://x", rpm=5, tpm=1000, free_quota=quota))

    assert {limit.name: limit.total for limit in limits} == {"rpm": 5, "rpd": 50, "tpm": 1000}


def test_what_providers_say_remains_is_understood() -> None:
    openai = {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1m2.5s",
        "x-ratelimit-limit-tokens": "150000",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "6ms",
    }
    anthropic = {
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-remaining": "49",
        "anthropic-ratelimit-requests-reset": "1970-01-01T08:00:00Z",
    }

    def told(headers: dict[str, str]) -> list[tuple[str, int, int, float]]:
        found = from_headers(headers, 1000.0)
        return [(one.limit, one.total, one.remaining, one.resets_unix_s) for one in found]

    assert told(openai) == [("rpm", 60, 59, 1062.5), ("tpm", 150000, 0, 1000.006)]
    assert told(anthropic) == [("rpm", 50, 49, 8 * 3600.0)]
    assert told({"x-ratelimit-limit-requests": "many"}) == []


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [
        ("1795000060", 60.0),
        ("1795000060000", 60.0),
        ("60", 60.0),
        ("nan", 60.0),
        ("inf", 60.0),
        ("-inf", 60.0),
        ("1e400", 60.0),
        ("9" * 400 + "s", 86400.0),
        ("900000", 86400.0),
        ("9999-12-31T23:59:59Z", 86400.0),
        ("soon", 60.0),
        ("", 60.0),
    ],
)
def test_no_reset_keeps_a_deployment_at_rest_for_more_than_a_day(reset: str, seconds: float) -> None:
    headers = {
        "x-ratelimit-limit-requests": "10",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": reset,
    }
    [told] = from_headers(headers, 1_795_000_000.0)

    assert told.resets_unix_s - 1_795_000_000 == seconds


@pytest.mark.parametrize("count", ["\u00b2", "9" * 30, "9" * 5000, "-1", "1.5", ""])
def test_a_count_that_is_none_is_passed_over(count: str) -> None:
    headers = {"x-ratelimit-limit-requests": count, "x-ratelimit-remaining-requests": count}

    assert from_headers(headers, 1000.0) == []


async def test_no_more_calls_than_places_run_and_few_wait() -> None:
    places = Places(2, waiting=1)
    assert [await places.enter(0) for _ in range(3)] == [True, True, False]
    waiting = asyncio.create_task(places.enter(5))
    await asyncio.sleep(0)
    assert await places.enter(5) is False
    places.leave()

    assert await waiting
    assert places.taken == 2


async def test_one_who_gives_up_waiting_leaves_no_hole() -> None:
    places = Places(1, waiting=5)
    await places.enter(0)
    assert await places.enter(0.01) is False
    cancelled = asyncio.create_task(places.enter(5))
    patient = asyncio.create_task(places.enter(5))
    await asyncio.sleep(0)
    cancelled.cancel()
    places.leave()

    assert await patient
    places.leave()
    assert places.taken == 0


async def test_one_who_is_cancelled_as_a_place_is_left_just_goes() -> None:
    places = Places(1, waiting=5)
    await places.enter(0)
    waiting = asyncio.create_task(places.enter(5))
    await asyncio.sleep(0)
    waiting.cancel()
    places.leave()

    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert places.taken == 0


async def test_one_whose_patience_ends_as_a_place_is_left_is_only_refused() -> None:
    places = Places(1, waiting=5)
    await places.enter(0)
    waiting = asyncio.create_task(places.enter(0.01))
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(0.015, places.leave)
    time.sleep(0.03)  # noqa: ASYNC251  (both are due when the loop looks again, patience first)

    assert await waiting is False
    assert places.taken == 0


def gate_of(counter: Counter, **more: Any) -> Gatekeeper:
    thresholds = Thresholds(allowed_fails=0, **more)
    return Gatekeeper(Breakers(RedisBoard(Link(None), "r"), lambda: thresholds), counter, queue=1)


def ended(one: Deployment, **more: Any) -> Attempt:
    return replace(Attempt("r/1", one, 0, 0, kind=Kind.FINAL), **more)


async def test_a_deployment_rests_when_its_provider_says_so() -> None:
    gate, one = gate_of(LocalCounter()), deployment("http://x")
    permit = await gate.enter(one, 1, 0)
    assert not isinstance(permit, Skip)
    permit.release(ended(one, kind=Kind.FAILED, error=ErrorClass.RATE_LIMIT, status_code=429), {}, 0.1)

    skipped = await gate.enter(one, 1, 0)
    assert isinstance(skipped, Skip)
    assert skipped.reason == "rate_limited"
    await asyncio.sleep(0.11)
    assert not isinstance(await gate.enter(one, 1, 0), Skip)
    assert gate.state(one.id) is State.CLOSED


async def test_an_open_breaker_a_used_limit_and_full_places_are_told_apart() -> None:
    gate = gate_of(LocalCounter())
    down, limited, full = (deployment("http://x", id=name) for name in ("down", "limited", "full"))
    limited = deployment("http://x", id="limited", rpm=1)
    full = deployment("http://x", id="full", max_parallel_requests=1)
    for one in (down, limited, full):
        permit = await gate.enter(one, 1, 0)
        assert not isinstance(permit, Skip)
        if one is down:
            permit.release(
                ended(one, kind=Kind.FAILED, error=ErrorClass.SERVER_ERROR, status_code=500), {}, None
            )
            await gate.settle()

    skips = [await gate.enter(one, 1, 0) for one in (down, limited, full)]

    assert [one.reason for one in skips if isinstance(one, Skip)] == ["breaker_open", "rate_limited", "busy"]


async def test_tokens_over_the_estimate_are_counted_afterwards() -> None:
    gate, one = gate_of(LocalCounter()), deployment("http://x", tpm=100)
    permit = await gate.enter(one, 10, 0)
    assert not isinstance(permit, Skip)
    permit.release(ended(one, usage=Usage(50, 60)), {}, None)
    await gate.settle()

    assert isinstance(await gate.enter(one, 10, 0), Skip)
    [headroom] = gate.standing(one).headroom.values()
    assert (headroom.limit, headroom.total) == ("tpm", 100)


async def test_the_providers_own_word_about_headroom_is_believed() -> None:
    gate, one = gate_of(LocalCounter()), deployment("http://x", rpm=1000)
    permit = await gate.enter(one, 1, 0)
    assert not isinstance(permit, Skip)
    headers = {
        "x-ratelimit-limit-requests": "5",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "30s",
    }
    permit.release(ended(one), headers, None)

    headroom = gate.standing(one).headroom["rpm"]
    assert (headroom.total, headroom.remaining, headroom.by_provider) == (5, 0, True)
    assert headroom.resets_unix_s == pytest.approx(time.time() + 30, abs=5)
    assert isinstance(await gate.enter(one, 1, 0), Skip)


def test_a_free_deployment_is_free() -> None:
    assert Price((Row("", 0, rates_of({})),)).free


class BrokenCounter(LocalCounter):
    """A counter with a mistake in it."""

    async def take(self, ident: str, limits: Sequence[Limit], tokens: int) -> tuple[list[int], str, float]:
        """Fail."""
        raise ZeroDivisionError


async def test_whatever_goes_wrong_at_the_gate_keeps_neither_a_place_nor_the_probe() -> None:
    gate = gate_of(BrokenCounter(), cooldown_s=0)
    one = deployment("http://x", max_parallel_requests=1)
    await fail(gate, one)
    limited = replace(one, rpm=5)

    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            await gate.enter(limited, 1, 0)
    assert gate.standing(one).places.taken == 0
    assert not isinstance(await gate.enter(one, 1, 0), Skip)


async def fail(gate: Gatekeeper, one: Deployment, error: ErrorClass = ErrorClass.SERVER_ERROR) -> None:
    permit = await gate.enter(one, 1, 0)
    assert not isinstance(permit, Skip)
    permit.release(ended(one, kind=Kind.FAILED, error=error, status_code=400), {}, None)
    await gate.settle()


async def test_what_does_not_count_neither_closes_a_breaker_nor_dilutes_the_share() -> None:
    gate, one = gate_of(LocalCounter(), cooldown_s=0), deployment("http://x")
    for _ in range(20):
        await fail(gate, one, ErrorClass.BAD_REQUEST)
        await fail(gate, one, ErrorClass.RATE_LIMIT)
    await fail(gate, one)
    assert gate.state(one.id) is State.HALF_OPEN

    await fail(gate, one, ErrorClass.BAD_REQUEST)
    assert gate.state(one.id) is State.HALF_OPEN
    permit = await gate.enter(one, 1, 0)
    assert not isinstance(permit, Skip)
    permit.release(ended(one), {}, None)
    assert gate.state(one.id) is State.CLOSED


async def test_the_last_call_that_tells_says_whether_a_deployment_is_in_order() -> None:
    gate, one = gate_of(LocalCounter()), deployment("http://x")
    seen = [gate.standing(one).last_error]
    for error in (ErrorClass.BAD_REQUEST, ErrorClass.NOT_FOUND, ErrorClass.RATE_LIMIT):
        await fail(gate, one, error)
        seen.append(gate.standing(one).last_error)
    permit = await gate.enter(one, 1, 0)
    assert not isinstance(permit, Skip)
    permit.release(ended(one), {}, None)
    seen.append(gate.standing(one).last_error)
    await fail(gate, one, ErrorClass.AUTHENTICATION)
    seen.append(gate.standing(one).last_error)

    gone = ErrorClass.NOT_FOUND
    assert seen == [None, None, gone, gone, None, ErrorClass.AUTHENTICATION]


async def test_a_provider_cannot_ask_for_more_than_a_days_rest() -> None:
    gate, one = gate_of(LocalCounter()), deployment("http://x")
    permit = await gate.enter(one, 1, 0)
    assert not isinstance(permit, Skip)
    permit.release(ended(one, kind=Kind.FAILED, error=ErrorClass.RATE_LIMIT, status_code=429), {}, 1e18)

    skipped = await gate.enter(one, 1, 0)
    assert isinstance(skipped, Skip)
    assert 0 < (skipped.retry_after_s or 0) <= 86400
