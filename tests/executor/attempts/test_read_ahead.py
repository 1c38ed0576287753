"""One task reads ahead, another one takes."""

import asyncio

from services.executor.attempts.read_ahead import ReadAhead


async def test_what_is_ready_is_taken_together_and_in_order() -> None:
    ahead = ReadAhead[int](10, 100)
    for number in range(3):
        ahead.add(number, 1)
    assert [0, 1, 2] == await ahead.take()

    waiting = asyncio.create_task(ahead.take())
    await asyncio.sleep(0)
    ahead.add(3, 1)
    ahead.add(4, 1)
    assert [3, 4] == await waiting


async def test_the_end_comes_after_what_was_added_before_it() -> None:
    ahead = ReadAhead[int](10, 100)
    ahead.add(1, 1)
    ahead.end()
    assert [1] == await ahead.take()
    assert [] == await ahead.take()

    ended = ReadAhead[int](10, 100)
    waiting = asyncio.create_task(ended.take())
    await asyncio.sleep(0)
    ended.end()
    assert [] == await waiting


async def test_who_reads_ahead_waits_for_room() -> None:
    ahead = ReadAhead[int](2, 100)
    ahead.add(1, 1)
    assert not ahead.is_full()
    ahead.add(2, 1)
    assert ahead.is_full()

    waiting = asyncio.create_task(ahead.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    assert [1, 2] == await ahead.take()
    await waiting
    assert not ahead.is_full()


async def test_what_is_taken_together_is_within_the_bound_or_a_single_item() -> None:
    ahead = ReadAhead[int](100, 10)
    for number, size in enumerate((4, 5)):
        ahead.add(number, size)
        assert not ahead.is_full()
    ahead.add(2, 90)
    assert ahead.is_full()

    waiting = asyncio.create_task(ahead.room())
    await asyncio.sleep(0)
    assert [0, 1] == await ahead.take()
    await asyncio.sleep(0)
    # What is left is still too large.
    assert not waiting.done()
    assert [2] == await ahead.take()
    await waiting

    ahead.add(3, 9)
    ahead.add(4, 9)
    ahead.end()
    assert [[3], [4], []] == [await ahead.take() for _ in range(3)]


async def test_a_taker_that_was_cancelled_takes_nothing_with_it() -> None:
    ahead = ReadAhead[int](2, 100)
    waiting = asyncio.create_task(ahead.take())
    await asyncio.sleep(0)
    ahead.add(1, 1)
    waiting.cancel()
    await asyncio.wait([waiting])

    assert [1] == await ahead.take()
