"""Items are delivered in the background: in order, in batches, until they are."""

import asyncio
from collections.abc import Sequence

import pytest

from services.chassis.backlog import Backlog


class Receiver:
    """Takes batches while its gate is open, and refuses as often as it is set to."""

    def __init__(self, refusals: int = 0) -> None:
        self.batches: list[list[int]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.begun = asyncio.Event()
        self._refusals = refusals

    async def take(self, batch: Sequence[int]) -> bool:
        self.begun.set()
        await self.open.wait()
        if self._refusals:
            self._refusals -= 1
            return False
        self.batches.append(list(batch))
        return True


async def test_items_are_delivered_in_order_and_in_batches_before_the_end() -> None:
    receiver = Receiver()
    backlog = Backlog(receiver.take, batch=3)

    async with backlog.delivering():
        for item in range(7):
            assert not backlog.append(item)

    assert [[0, 1, 2], [3, 4, 5], [6]] == receiver.batches
    assert 0 == len(backlog)


async def test_a_refused_batch_is_delivered_again_with_what_came_meanwhile() -> None:
    receiver = Receiver(refusals=2)
    backlog = Backlog(receiver.take, batch=10)
    receiver.open.clear()

    async with backlog.delivering():
        backlog.append(1)
        await receiver.begun.wait()
        backlog.append(2)
        receiver.open.set()

    assert [[1, 2]] == receiver.batches


async def test_the_oldest_makes_room_and_what_is_in_flight_then_takes_nothing_else_along() -> None:
    receiver = Receiver()
    backlog = Backlog(receiver.take, batch=2, most=3)
    receiver.open.clear()

    async with backlog.delivering():
        backlog.append(1)
        backlog.append(2)
        await receiver.begun.wait()
        dropped = [backlog.append(item) for item in (3, 4, 5)]
        receiver.open.set()

    # 1 and 2 were on their way when they made room for 4 and 5.
    assert [False, True, True] == dropped
    assert [[1, 2], [3, 4], [5]] == receiver.batches


async def test_what_cannot_be_delivered_at_the_end_stays_and_holds_the_end_up_only_so_long() -> None:
    receiver = Receiver()
    receiver.open.clear()
    backlog = Backlog(receiver.take, batch=2)

    async with backlog.delivering():
        backlog.append(1)

    assert (1, []) == (len(backlog), receiver.batches)


async def test_a_batch_that_fails_unforeseen_is_logged_and_given_up_and_the_next_is_delivered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    receiver = Receiver()

    async def take(batch: Sequence[int]) -> bool:
        if 1 in batch:
            raise RuntimeError("unforeseen")
        return await receiver.take(batch)

    backlog = Backlog(take, batch=2)

    async with backlog.delivering():
        for item in range(4):
            backlog.append(item)

    assert ([[2, 3]], 0) == (receiver.batches, len(backlog))
    (line,) = caplog.records
    assert "2 items" in line.message
    assert "unforeseen" in (line.exc_text or "")


async def test_a_batch_is_bounded_by_bytes_too_and_an_item_beyond_that_goes_alone() -> None:
    receiver = Receiver()
    # Each number is its own size.
    backlog = Backlog(receiver.take, batch=3, size=lambda item: item, heaviest=10)

    async with backlog.delivering():
        for item in (5, 5, 1, 20, 2, 2, 2, 2):
            backlog.append(item)

    assert [[5, 5], [1], [20], [2, 2, 2], [2]] == receiver.batches
