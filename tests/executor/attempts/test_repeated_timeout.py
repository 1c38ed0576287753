"""One timer for the timeouts of many waits."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import TypeVar

import pytest

from services.executor.attempts.repeated_timeout import RepeatedTimeout

# Longer than any of these tests may take.
LONG_S = 60.0
T = TypeVar("T")


@asynccontextmanager
async def timeout() -> AsyncIterator[RepeatedTimeout]:
    made = RepeatedTimeout()
    try:
        yield made
    finally:
        made.close()


async def value(given: int) -> int:
    await asyncio.sleep(0)
    return given


async def wait(waiting: RepeatedTimeout, awaitable: Awaitable[T], timeout_s: float) -> T:
    with waiting.within(timeout_s):
        return await awaitable


async def test_waits_that_end_in_time_share_one_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, timers = asyncio.get_running_loop(), 0
    call_at = loop.call_at

    def counting(*args: object, **more: object) -> asyncio.TimerHandle:
        nonlocal timers
        timers += 1
        return call_at(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "call_at", counting)
    async with timeout() as waiting:
        assert [await wait(waiting, value(i), LONG_S) for i in range(100)] == [*range(100)]

    assert timers == 1


async def test_a_wait_that_takes_too_long_ends_although_the_one_before_had_longer() -> None:
    async with timeout() as waiting:
        await wait(waiting, value(1), LONG_S)
        with pytest.raises(TimeoutError):
            await wait(waiting, asyncio.Event().wait(), 0.01)

        # The task is not left cancelled.
        assert await wait(waiting, value(2), LONG_S) == 2


async def test_a_timer_that_fires_for_an_earlier_wait_leaves_the_wait_of_the_moment_its_time() -> None:
    loop = asyncio.get_running_loop()
    async with timeout() as waiting:
        await wait(waiting, value(1), 0.01)
        began = loop.time()
        with pytest.raises(TimeoutError):
            await wait(waiting, asyncio.Event().wait(), 0.1)

        assert loop.time() - began >= 0.09


async def test_nobody_is_cancelled_between_two_waits() -> None:
    async with timeout() as waiting:
        await wait(waiting, value(1), 0.01)
        await asyncio.sleep(0.05)

        assert await wait(waiting, value(2), LONG_S) == 2


async def test_a_cancellation_from_outside_is_not_taken_for_the_timeout() -> None:
    async with timeout() as waiting:
        task = asyncio.create_task(wait(waiting, asyncio.Event().wait(), LONG_S))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
