"""What one task has read and another one has not yet passed on; an `asyncio.Queue` costs each chunk twice as much."""

import asyncio
from typing import Generic, TypeVar

T = TypeVar("T")


class ReadAhead(Generic[T]):
    """Items in order, from one task that adds them to one that takes them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._items: list[T] = []
        self._ended = False
        # Who waits at the moment, if anybody does.
        self._taker: asyncio.Future[None] | None = None
        self._adder: asyncio.Future[None] | None = None

    def is_full(self) -> bool:
        """Whether as many items as there may be have not been taken."""
        return len(self._items) >= self._most

    async def room(self) -> None:
        """Wait until items are taken."""
        self._adder = asyncio.get_running_loop().create_future()
        await self._adder

    def add(self, item: T) -> None:
        """Add an item."""
        self._items.append(item)
        _wake(self._taker)

    def end(self) -> None:
        """Nothing more comes."""
        self._ended = True
        _wake(self._taker)

    async def take(self) -> list[T]:
        """All that are there, after waiting for the first; nothing once all were taken and nothing more comes."""
        if not self._items and not self._ended:
            self._taker = asyncio.get_running_loop().create_future()
            await self._taker
        taken, self._items = self._items, []
        _wake(self._adder)
        return taken


def _wake(waiting: asyncio.Future[None] | None) -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(None)
