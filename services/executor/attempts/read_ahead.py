"""What one task has read and another one has not yet passed on; an `asyncio.Queue` costs each chunk twice as much."""

from typing import Generic, TypeVar

from services.chassis.wakeup import Wakeup

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
        self._added, self._taken = Wakeup(), Wakeup()

    def is_full(self) -> bool:
        """Whether as much as there may be has not been taken."""
        return len(self._items) >= self._most or self._size >= self._most_size

    async def room(self) -> None:
        """Wait until items are taken, and it is full no longer."""
        await self._taken.wait()

    def add(self, item: T, size: int) -> None:
        """Add an item; only while it is not full."""
        self._items.append(item)
        self._size += size
        self._last_size = size
        self._added.wake()

    def end(self) -> None:
        """Nothing more comes."""
        self._ended = True
        self._added.wake()

    async def take(self) -> list[T]:
        """What is there, after waiting for the first item; nothing once all were taken and nothing more comes.

        Together they are no larger than `most_size`, or it is a single one.
        """
        if not self._items and not self._ended:
            await self._added.wait()
        if self._size > self._most_size and len(self._items) > 1:
            # There was room for all but the last, which goes by itself or with what follows it.
            taken, self._items, self._size = self._items[:-1], self._items[-1:], self._last_size
        else:
            taken, self._items, self._size = self._items, [], 0
        if not self.is_full():
            self._taken.wake()
        return taken
