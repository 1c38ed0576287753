"""Items that one background task delivers in batches, so that who adds one never waits."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import islice
from typing import Generic, TypeVar

__all__ = ["Backlog"]

log = logging.getLogger(__name__)

T = TypeVar("T")

# How long the rest may take to be delivered at the end, in seconds.
FLUSH_S = 1.0


class Backlog(Generic[T]):
    """Keeps items in order until they are delivered.

    Args:
        deliver: Hands a batch over. False keeps the batch for another try; the pause before that is its own. A batch
            for which it raises is given up, with the error in the log.
        batch: The largest batch.
        most: How many items are kept; the oldest makes room for a new one. None is no bound.
        size: Of an item, in bytes.
        heaviest: The most bytes of a batch; a larger item goes alone.

    """

    def __init__(
        self,
        deliver: Callable[[Sequence[T]], Awaitable[bool]],
        *,
        batch: int,
        most: int | None = None,
        size: Callable[[T], int] = lambda _: 0,
        heaviest: int = 0,
    ) -> None:
        self._deliver = deliver
        self._size = size
        self._heaviest = heaviest
        self._batch = batch
        self._most = most
        self._items: deque[T] = deque()
        # How many of the oldest items are in the batch that is being delivered.
        self._in_flight = 0
        self._wake = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        """How many items are not delivered."""
        return len(self._items)

    def append(self, item: T) -> bool:
        """Add an item; returns at once, and says whether the oldest had to make room."""
        full = len(self._items) == self._most
        if full:
            self._drop_oldest()
        self._items.append(item)
        self._empty.clear()
        self._wake.set()
        return full

    @asynccontextmanager
    async def delivering(self) -> AsyncIterator[None]:
        """Deliver in the background until the block ends, then what is left within a second; the rest stays."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_S):
                    await self._empty.wait()
            task.cancel()
            await asyncio.wait([task])

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            if not self._items:
                self._wake.clear()
                self._empty.set()
                continue
            batch = self._next()
            self._in_flight = len(batch)
            if await self._delivered(batch):
                while self._in_flight:
                    self._drop_oldest()

    def _drop_oldest(self) -> None:
        self._items.popleft()
        self._in_flight = max(0, self._in_flight - 1)

    def _next(self) -> list[T]:
        batch: list[T] = []
        bytes_left = self._heaviest
        for item in islice(self._items, self._batch):
            bytes_left -= self._size(item)
            if batch and bytes_left < 0:
                break
            batch.append(item)
        return batch

    async def _delivered(self, batch: Sequence[T]) -> bool:
        try:
            return await self._deliver(batch)
        except Exception:
            # Unforeseen: the same batch would fail again, and those that come after it must not wait for good.
            log.exception("%d items cannot be delivered and are given up", len(batch))
            return True
