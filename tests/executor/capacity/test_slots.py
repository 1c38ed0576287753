"""Calls that run at once, and those that are queued."""

import asyncio
import time

import pytest

from services.executor.capacity.slots import ParallelSlots


async def test_no_more_calls_than_slots_run_and_few_are_queued() -> None:
    slots = ParallelSlots(2, queue=1)
    assert [await slots.acquire(0) for _ in range(3)] == [True, True, False]
    queued = asyncio.create_task(slots.acquire(5))
    await asyncio.sleep(0)
    assert await slots.acquire(5) is False
    slots.release()

    assert await queued
    assert slots.in_use == 2


async def test_a_call_that_gives_up_its_turn_keeps_no_slot() -> None:
    slots = ParallelSlots(1, queue=5)
    await slots.acquire(0)
    assert await slots.acquire(0.01) is False
    cancelled = asyncio.create_task(slots.acquire(5))
    patient = asyncio.create_task(slots.acquire(5))
    await asyncio.sleep(0)
    cancelled.cancel()
    slots.release()

    assert await patient
    slots.release()
    assert slots.in_use == 0


async def test_a_call_that_is_cancelled_as_a_slot_is_released_keeps_none() -> None:
    slots = ParallelSlots(1, queue=5)
    await slots.acquire(0)
    queued = asyncio.create_task(slots.acquire(5))
    await asyncio.sleep(0)
    queued.cancel()
    slots.release()

    with pytest.raises(asyncio.CancelledError):
        await queued
    assert slots.in_use == 0


async def test_a_call_that_times_out_as_a_slot_is_released_gets_none() -> None:
    slots = ParallelSlots(1, queue=5)
    await slots.acquire(0)
    queued = asyncio.create_task(slots.acquire(0.01))
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(0.015, slots.release)
    time.sleep(0.03)  # noqa: ASYNC251  (both are due when the loop looks again, the timeout first)

    assert await queued is False
    assert slots.in_use == 0
