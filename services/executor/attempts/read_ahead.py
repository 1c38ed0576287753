"""What one task has read and another one has not yet passed on; an `asyncio.Queue` costs each chunk twice as much."""

import asyncio
from typing import Generic, TypeVar

T = TypeVar("T")


class ReadAhead(Generic[T]):
    """Items in order, from one task that adds them to one that takes them.

    Args:
        most: How many may be there.
        most_size: How large they may be together, in the unit of `add`; one item of any size is let in all the same.

    """

    def __init__(self, most: int, most_size: int) -> None:
        self._most = most
        self._most_size = most_size
        self._items: list[T] = []
        self._size = 0
        self._last_size = 0
        self._ended = False
        # Who waits at the moment, if anybody does.
        self._taker: asyncio.Future[None] | None = None
        self._adder: asyncio.Future[None] | None = None

    def is_full(self) -> bool:
        """Whether as much as there may be has not been taken."""
        return len(self._items) >= self._most or self._size >= self._most_size

    async def room(self) -> None:
        """Wait until items are taken, and it is full no longer."""
        self._adder = asyncio.get_running_loop().create_future()
        await self._adder

    def add(self, item: T, size: int) -> None:
        """Add an item; only while it is not full."""
        self._items.append(item)
        self._size += size
        self._last_size = size
        _wake(self._taker)

    def end(self) -> None:
        """Nothing more comes."""
        self._ended = True
        _wake(self._taker)

    async def take(self) -> list[T]:
        """What is there, after waiting for the first item; nothing once all were taken and nothing more comes.

        Together they are no larger than `most_size`, or it is a single one.
        """
        if not self._items and not self._ended:
            self._taker = asyncio.get_running_loop().create_future()
            await self._taker
        if self._size > self._most_size and len(self._items) > 1:
            # There was room for all but the last, which goes by itself or with what follows it.
            taken, self._items, self._size = self._items[:-1], self._items[-1:], self._last_size
        else:
            taken, self._items, self._size = self._items, [], 0
        if not self.is_full():
            _wake(self._adder)
        return taken


def _wake(waiting: asyncio.Future[None] | None) -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(None)
