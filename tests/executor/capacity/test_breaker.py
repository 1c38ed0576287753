import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from services.chassis import redis
from services.executor.capacity.breaker import Breakers, BreakerState, Thresholds
from services.executor.capacity.redis_state import RedisBreakerStore, RedisGuard

THRESHOLDS = Thresholds(allowed_fails=3, share=0.5, window_s=60, cooldown_s=30)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def alone(clock: Clock) -> Breakers:
    """The breakers of a replica without Redis."""
    return Breakers(RedisBreakerStore(RedisGuard(None), "r"), lambda: THRESHOLDS, clock=clock)


@pytest.fixture
async def guard(valkey: str) -> AsyncIterator[RedisGuard]:
    client = redis.connect(valkey, timeout_s=2)
    yield RedisGuard(client)
    await client.aclose()


async def fail(breakers: Breakers, count: int, ident: str = "d") -> None:
    for _ in range(count):
        breakers.record(ident, failed=True, probe=False)
    await breakers.settle()


async def test_it_opens_after_more_failures_than_allowed(alone: Breakers) -> None:
    await fail(alone, 3)
    assert alone.state("d") is BreakerState.CLOSED

    await fail(alone, 1)

    assert alone.state("d") is BreakerState.OPEN
    assert await alone.admit("d") is BreakerState.OPEN
    assert alone.opens_in_s("d") == 30
    assert alone.state("other") is BreakerState.CLOSED


async def test_a_handful_of_failures_among_many_successes_opens_nothing(alone: Breakers) -> None:
    for _ in range(100):
        alone.record("d", failed=False, probe=False)
    await fail(alone, 20)

    assert alone.state("d") is BreakerState.CLOSED
    assert alone.error_rate("d") == pytest.approx(20 / 120)


async def test_failures_older_than_the_window_are_forgotten(alone: Breakers, clock: Clock) -> None:
    await fail(alone, 3)
    clock.now += 61
    await fail(alone, 3)

    assert alone.state("d") is BreakerState.CLOSED


async def test_a_half_open_breaker_lets_one_probe_through_at_a_time(alone: Breakers, clock: Clock) -> None:
    await fail(alone, 4)
    clock.now += 30

    assert alone.state("d") is BreakerState.HALF_OPEN
    assert [await alone.admit("d") for _ in range(3)] == [
        BreakerState.HALF_OPEN,
        BreakerState.OPEN,
        BreakerState.OPEN,
    ]
    alone.record("d", failed=None, probe=True)
    assert await alone.admit("d") is BreakerState.HALF_OPEN
    alone.record("d", failed=False, probe=True)
    await alone.settle()
    assert alone.state("d") is BreakerState.CLOSED
    assert await alone.admit("d") is BreakerState.CLOSED


async def test_a_failed_probe_opens_it_again(alone: Breakers, clock: Clock) -> None:
    await fail(alone, 4)
    clock.now += 30
    await alone.admit("d")
    alone.record("d", failed=True, probe=True)
    await alone.settle()

    assert alone.state("d") is BreakerState.OPEN
    clock.now += 29
    assert alone.state("d") is BreakerState.OPEN


async def test_what_says_nothing_about_the_deployment_is_not_counted(alone: Breakers) -> None:
    for _ in range(50):
        alone.record("d", failed=None, probe=False)
    await alone.settle()

    assert alone.state("d") is BreakerState.CLOSED
    assert alone.error_rate("d") == 0


async def test_each_change_of_state_is_logged_once(
    alone: Breakers, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await fail(alone, 40)
    for _ in range(40):
        await alone.admit("d")
    clock.now += 30
    await alone.admit("d")
    alone.record("d", failed=False, probe=True)
    await alone.settle()

    assert [record.message.split(" is ")[1].split(" ")[0].rstrip(":") for record in caplog.records] == [
        "open",
        "half-open",
        "closed",
    ]


async def test_replicas_count_failures_together_and_share_the_state(guard: RedisGuard) -> None:
    one, two = (Breakers(RedisBreakerStore(guard, name), lambda: THRESHOLDS) for name in ("one", "two"))
    await fail(one, 2)
    await fail(two, 2)

    assert two.state("d") is BreakerState.OPEN
    await one.sync()
    assert one.state("d") is BreakerState.OPEN


async def test_only_one_replica_probes_and_all_learn_its_result(guard: RedisGuard) -> None:
    thresholds = Thresholds(allowed_fails=0, cooldown_s=0.05)
    one, two = (Breakers(RedisBreakerStore(guard, name), lambda: thresholds) for name in ("one", "two"))
    await fail(one, 1)
    await two.sync()
    await asyncio.sleep(0.06)

    assert await one.admit("d") is BreakerState.HALF_OPEN
    assert await two.admit("d") is BreakerState.OPEN
    one.record("d", failed=False, probe=True)
    await one.settle()
    await two.sync()
    assert two.state("d") is BreakerState.CLOSED
    assert await two.admit("d") is BreakerState.CLOSED


async def test_a_replica_uses_its_own_count_while_redis_cannot_be_reached(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    client = redis.connect("redis://127.0.0.1:1")
    breakers = Breakers(RedisBreakerStore(RedisGuard(client), "r"), lambda: THRESHOLDS, clock=clock)
    await fail(breakers, 4)
    await breakers.sync()

    assert breakers.state("d") is BreakerState.OPEN
    clock.now += 30
    assert await breakers.admit("d") is BreakerState.HALF_OPEN
    assert sum("Redis cannot be reached" in record.message for record in caplog.records) == 1
    await client.aclose()


async def test_a_failed_probe_is_the_only_one_of_all_replicas_until_the_next_cooldown(
    guard: RedisGuard,
) -> None:
    thresholds = Thresholds(allowed_fails=0, cooldown_s=3)
    replicas = [Breakers(RedisBreakerStore(guard, f"r{number}"), lambda: thresholds) for number in range(5)]
    await fail(replicas[0], 1)
    for one in replicas:
        await one.sync()
    async with asyncio.timeout(60):
        while any(one.state("d") is not BreakerState.HALF_OPEN for one in replicas):
            await asyncio.sleep(0.01)

    assert await replicas[0].admit("d") is BreakerState.HALF_OPEN
    replicas[0].record("d", failed=True, probe=True)
    await replicas[0].settle()

    # Whether or not they have read it.
    assert [await one.admit("d") for one in replicas] == [BreakerState.OPEN] * 5
    for one in replicas:
        await one.sync()
    assert {one.state("d") for one in replicas} == {BreakerState.OPEN}


async def test_a_probe_that_never_ends_does_not_shut_the_deployment(alone: Breakers, clock: Clock) -> None:
    await fail(alone, 4)
    clock.now += 30
    assert await alone.admit("d") is BreakerState.HALF_OPEN
    clock.now += THRESHOLDS.probe_s - 1
    assert await alone.admit("d") is BreakerState.OPEN
    clock.now += 1

    assert await alone.admit("d") is BreakerState.HALF_OPEN


async def test_a_probe_given_up_long_ago_frees_no_other_replicas(guard: RedisGuard) -> None:
    thresholds = Thresholds(allowed_fails=0, cooldown_s=0, probe_s=0.05)
    patient = Thresholds(allowed_fails=0, cooldown_s=0, probe_s=60)
    one = Breakers(RedisBreakerStore(guard, "one"), lambda: thresholds)
    two, three = (Breakers(RedisBreakerStore(guard, name), lambda: patient) for name in ("two", "three"))
    await fail(one, 1)
    await two.sync()
    await three.sync()
    assert await one.admit("d") is BreakerState.HALF_OPEN
    async with asyncio.timeout(60):
        while await two.admit("d") is BreakerState.OPEN:
            await asyncio.sleep(0.01)

    one.record("d", failed=None, probe=True)
    await one.settle()

    assert await three.admit("d") is BreakerState.OPEN


async def test_thresholds_are_those_of_the_moment(clock: Clock) -> None:
    now = THRESHOLDS
    breakers = Breakers(RedisBreakerStore(RedisGuard(None), "r"), lambda: now, clock=clock)
    await fail(breakers, 1)
    assert breakers.state("d") is BreakerState.CLOSED

    now = Thresholds(allowed_fails=0, cooldown_s=7)
    await fail(breakers, 1)

    assert breakers.opens_in_s("d") == 7


async def test_a_probe_given_up_that_fails_after_all_is_one_failure_like_any_other(
    alone: Breakers, clock: Clock
) -> None:
    await fail(alone, 4)
    clock.now += 30
    assert await alone.admit("d") is BreakerState.HALF_OPEN
    clock.now += THRESHOLDS.probe_s
    assert await alone.admit("d") is BreakerState.HALF_OPEN
    alone.record("d", failed=False, probe=True)

    alone.record("d", failed=True, probe=True)
    await alone.settle()

    assert alone.state("d") is BreakerState.CLOSED
