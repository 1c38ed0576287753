"""Adaptive batches."""

import asyncio
from collections.abc import Sequence

import pytest

from services.chassis.batching import Batcher
from services.chassis.errors import Invalid


class Doubler:
    """Doubles numbers, one batch at a time, when it is let; odd ones are refused."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.let = asyncio.Event()
        self.arrived = asyncio.Event()

    async def __call__(self, numbers: Sequence[int]) -> list[int | Exception]:
        self.batches.append(list(numbers))
        self.arrived.set()
        await self.let.wait()
        if -1 in numbers:
            raise ConnectionError("gone")
        return [Invalid("odd") if n % 2 else n * 2 for n in numbers]


async def test_what_arrives_during_a_call_goes_in_the_next() -> None:
    double = Doubler()
    batcher: Batcher[int, int] = Batcher(double)
    first = asyncio.create_task(batcher(0))
    await double.arrived.wait()
    rest = [asyncio.create_task(batcher(n)) for n in (2, 4, 6)]
    await asyncio.sleep(0)
    double.let.set()

    assert [0, 4, 8, 12] == await asyncio.gather(first, *rest)
    assert [[0], [2, 4, 6]] == double.batches


async def test_each_request_gets_its_own_failure() -> None:
    double = Doubler()
    double.let.set()
    batcher: Batcher[int, int] = Batcher(double)

    results = await asyncio.gather(batcher(2), batcher(3), batcher(4), return_exceptions=True)

    assert [4, 8] == [results[0], results[2]]
    assert isinstance(results[1], Invalid)


async def test_a_failed_call_fails_those_in_it_and_no_others() -> None:
    double = Doubler()
    double.let.set()
    batcher: Batcher[int, int] = Batcher(double, most=1)

    results = await asyncio.gather(batcher(-1), batcher(2), return_exceptions=True)

    assert isinstance(results[0], ConnectionError)
    assert results[1] == 4


async def test_a_cancelled_request_does_not_affect_the_others() -> None:
    double = Doubler()
    batcher: Batcher[int, int] = Batcher(double)
    first = asyncio.create_task(batcher(0))
    await double.arrived.wait()
    leaves, stays = asyncio.create_task(batcher(2)), asyncio.create_task(batcher(4))
    await asyncio.sleep(0)
    leaves.cancel()
    double.let.set()

    assert await stays == 8
    assert await first == 0
    with pytest.raises(asyncio.CancelledError):
        await leaves
    assert [[0], [4]] == double.batches


async def test_no_batch_is_larger_than_allowed() -> None:
    double = Doubler()
    double.let.set()
    batcher: Batcher[int, int] = Batcher(double, most=3)

    await asyncio.gather(*(batcher(2 * n) for n in range(8)))

    assert max(len(batch) for batch in double.batches) == 3


async def test_only_requests_cancelled_under_way_are_reported_as_unclaimed() -> None:
    double, left = Doubler(), list[int]()
    batcher: Batcher[int, int] = Batcher(double, unclaimed=left.append)
    under_way = asyncio.create_task(batcher(0))
    await double.arrived.wait()
    waiting, patient = asyncio.create_task(batcher(2)), asyncio.create_task(batcher(4))
    await asyncio.sleep(0)
    under_way.cancel()
    waiting.cancel()
    double.let.set()

    assert 8 == await patient
    assert [0] == left
    assert [[0], [4]] == double.batches


async def test_who_leaves_between_the_result_and_reading_it_is_named_too() -> None:
    double, left = Doubler(), list[int]()
    batcher: Batcher[int, int] = Batcher(double, unclaimed=left.append)
    late = asyncio.Future[asyncio.Task[int]]()

    async def first() -> None:
        await batcher(0)
        # The other's result is there as well, but it was not its turn yet.
        late.result().cancel()

    earlier = asyncio.create_task(first())
    later = asyncio.create_task(batcher(2))
    late.set_result(later)
    await double.arrived.wait()
    double.let.set()

    await earlier
    with pytest.raises(asyncio.CancelledError):
        await later
    assert [[0, 2]] == double.batches
    assert [2] == left


async def test_a_batch_has_a_size_beside_its_count() -> None:
    sent: list[list[int]] = []

    async def send(batch: Sequence[int]) -> Sequence[int]:
        sent.append(list(batch))
        return batch

    batcher: Batcher[int, int] = Batcher(send, most=4, size=lambda request: request, most_size=10)
    given = [1, 6, 5, 5, 11, 20, 1, 1, 1, 1, 1]
    answers = await asyncio.gather(*(batcher(one) for one in given))

    assert given == answers
    assert [[1, 6], [5, 5], [11], [20], [1, 1, 1, 1], [1]] == sent
