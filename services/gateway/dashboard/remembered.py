"""Answers that are good for a while, for all who ask: many open pages read the ledger no more often than one."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Remembered(Generic[T]):
    """What was read last, by name; the names are those of the code, never a caller's."""

    def __init__(self, lasts_s: float, *, now: Callable[[], float] = time.monotonic) -> None:
        """Read again after `lasts_s` seconds."""
        self._lasts_s = lasts_s
        self._now = now
        self._known: dict[str, tuple[float, asyncio.Future[T]]] = {}

    async def get(self, name: str, read: Callable[[], Awaitable[T]]) -> T:
        """What `read` gives, now or not long ago; a failure is not remembered."""
        began, known = self._known.get(name, (0.0, None))
        if known is None or (known.done() and (_failed(known) or self._now() - began > self._lasts_s)):
            known = asyncio.ensure_future(read())
            self._known[name] = (self._now(), known)
        # Who leaves does not take the answer away from the others.
        return await asyncio.shield(known)


def _failed(known: asyncio.Future[T]) -> bool:
    return known.cancelled() or known.exception() is not None
