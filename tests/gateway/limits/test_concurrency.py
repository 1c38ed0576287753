import asyncio
from contextlib import AsyncExitStack

import pytest

from services.chassis import errors
from services.gateway.config.plans import Plan
from services.gateway.keys.permissions import Caller
from services.gateway.limits import adaptive_limit, concurrency, fair_share
from services.gateway.limits.concurrency import ConcurrencyLimiter
from services.gateway.limits.patience import Patience

SOON = Patience(0.01, 0.01)
NEVER = Patience(60, 60)


def caller(tenant: str) -> Caller:
    return Caller(key_id="k", plan=Plan("open"), tenant=f"organization:{tenant}")


async def hold(limiter: ConcurrencyLimiter, tenant: str, until: asyncio.Event) -> None:
    async with limiter.slot(caller(tenant)):
        await until.wait()


async def begun(limiter: ConcurrencyLimiter, tenant: str, until: asyncio.Event) -> asyncio.Task[None]:
    task = asyncio.create_task(hold(limiter, tenant, until))
    await asyncio.sleep(0)
    return task


async def test_who_waits_goes_on_when_a_slot_is_free() -> None:
    limiter, first, second = ConcurrencyLimiter(1, patience=NEVER), asyncio.Event(), asyncio.Event()
    running = await begun(limiter, "a", first)
    waiting = await begun(limiter, "a", second)

    first.set()
    await running
    second.set()

    await waiting


async def test_who_has_its_share_is_refused_with_429_when_the_wait_is_over() -> None:
    limiter, end = ConcurrencyLimiter(1, patience=SOON), asyncio.Event()
    running = await begun(limiter, "a", end)

    with pytest.raises(errors.Exhausted, match="organization a has its share") as refusal:
        await hold(limiter, "a", end)

    assert ("OVERLOADED", 1.0) == (refusal.value.reason, refusal.value.retry_after_s)
    end.set()
    await running


async def test_who_has_less_is_refused_with_503() -> None:
    limiter, end = ConcurrencyLimiter(1, patience=SOON), asyncio.Event()
    # The limit, and the reserve.
    running = [await begun(limiter, tenant, end) for tenant in "ab"]

    with pytest.raises(errors.Unavailable) as refusal:
        await hold(limiter, "c", end)

    assert ("OVERLOADED", 1.0) == (refusal.value.reason, refusal.value.retry_after_s)
    end.set()
    await asyncio.gather(*running)


async def test_a_full_queue_refuses_without_waiting_for_a_slot() -> None:
    limiter, end = ConcurrencyLimiter(1, patience=NEVER, hold_s=0), asyncio.Event()
    tasks = [await begun(limiter, "a", end) for _ in range(2)]

    async with asyncio.timeout(60):
        with pytest.raises(errors.Exhausted):
            await hold(limiter, "a", end)

    end.set()
    await asyncio.gather(*tasks)


async def test_a_refusal_is_held_for_who_has_its_share() -> None:
    limiter, end = ConcurrencyLimiter(1, patience=NEVER, hold_s=3600), asyncio.Event()
    tasks = [await begun(limiter, "a", end) for _ in range(2)]

    late = await begun(limiter, "a", end)
    assert not late.done()
    late.cancel()
    await asyncio.wait([late])

    early = asyncio.create_task(limiter.refusal(caller("a")))
    await asyncio.sleep(0)
    assert not early.done()
    early.cancel()
    end.set()
    await asyncio.gather(*tasks)


async def test_a_refusal_is_not_held_for_who_has_less() -> None:
    limiter, end = ConcurrencyLimiter(2, patience=NEVER, hold_s=3600), asyncio.Event()
    # Two slots, the reserve, and a queue in which everybody has as many.
    tasks = [await begun(limiter, tenant, end) for tenant in "abcab"]

    async with asyncio.timeout(60):
        with pytest.raises(errors.Unavailable):
            await hold(limiter, "d", end)

    end.set()
    await asyncio.gather(*tasks)


async def test_a_caller_who_leaves_while_waiting_gives_its_slot_back() -> None:
    limiter, end = ConcurrencyLimiter(1, patience=NEVER), asyncio.Event()
    running = await begun(limiter, "a", end)
    for _ in range(10):
        leaving = await begun(limiter, "a", end)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving

    waiting = await begun(limiter, "a", end)
    end.set()

    await asyncio.gather(running, waiting)


async def test_a_caller_who_leaves_at_the_moment_of_its_turn_gives_its_slot_back() -> None:
    limiter, end, never = ConcurrencyLimiter(1, patience=NEVER), asyncio.Event(), asyncio.Event()
    running = await begun(limiter, "a", end)
    leaving = await begun(limiter, "a", never)
    end.set()
    await running
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving

    async with asyncio.timeout(60), limiter.slot(caller("a")):
        pass


async def limits_beside(tenants: str) -> tuple[int, int]:
    """The limits of all and of one after some round trips, while requests of these tenants run."""
    limiter, enough, calls = ConcurrencyLimiter(100, patience=SOON), asyncio.Event(), 0

    async def call() -> None:
        nonlocal calls
        calls += 1
        if calls == 2 * adaptive_limit.IN_A_ROW:
            enough.set()

    async with AsyncExitStack() as slots, limiter.adapting(call):
        for tenant in tenants:
            await slots.enter_async_context(limiter.slot(caller(tenant)))
        async with asyncio.timeout(30):
            await enough.wait()
    return limiter._shares.limit, limiter._shares.limit_of_one


async def test_slow_round_trips_lower_the_limit_while_many_requests_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # So small that every round trip is slow, and no work is too much.
    monkeypatch.setattr(concurrency, "ROUND_TRIP_S", 1e-9)
    monkeypatch.setattr(concurrency, "WORK_S", 3600)

    assert (48 * adaptive_limit.LOWERED_MOST, adaptive_limit.BURST) == await limits_beside("a" * 48)


@pytest.mark.parametrize(
    ("tenants", "of_one"),
    [("a" * 40 + "b", 40 * adaptive_limit.LOWERED_MOST), ("a" * 40, adaptive_limit.BURST)],
)
async def test_a_busy_loop_lowers_what_one_tenant_may_run_beside_others(
    monkeypatch: pytest.MonkeyPatch, tenants: str, of_one: int
) -> None:
    # However long after another.
    monkeypatch.setattr(fair_share, "SHARED_S", 3600)
    monkeypatch.setattr(concurrency, "ROUND_TRIP_S", 3600)
    monkeypatch.setattr(concurrency, "WORK_S", 1e-9)
    # However little of a round trip the loop works.
    monkeypatch.setattr(concurrency, "BUSY_SHARE", 1e-9)

    assert (adaptive_limit.BURST, of_one) == await limits_beside(tenants)


async def test_a_loop_that_is_idle_for_most_of_a_round_trip_lowers_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(concurrency, "ROUND_TRIP_S", 3600)
    monkeypatch.setattr(concurrency, "WORK_S", 1e-9)
    # No work is so large a part of a round trip.
    monkeypatch.setattr(concurrency, "BUSY_SHARE", 1e9)

    assert (adaptive_limit.BURST, adaptive_limit.BURST) == await limits_beside("a" * 40 + "b")
