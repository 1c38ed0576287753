"""A dependency that does not answer: logged once when that begins, once when it ends, and not called between tries."""

import asyncio
import logging
import random
import time

__all__ = ["Outage"]


class Outage:
    """Whether one dependency is down, as its user sees it.

    Args:
        log: Where the beginning and the end are logged, one line each.
        begins: The line when it begins; the error's type and text follow.
        ends: The line when it ends.
        pause_s: Seconds without a call after a failure.

    """

    def __init__(self, log: logging.Logger, begins: str, ends: str, *, pause_s: float = 0.5) -> None:
        self._log = log
        self._begins = begins
        self._ends = ends
        self._pause_s = pause_s
        self._resting_until = 0.0
        self._over = asyncio.Event()
        self._over.set()

    @property
    def active(self) -> bool:
        """Whether the last call failed."""
        return not self._over.is_set()

    @property
    def resting(self) -> bool:
        """Whether the last call failed so recently that it is too early for another."""
        return self.active and time.monotonic() < self._resting_until

    def begin(self, error: BaseException | None = None) -> bool:
        """Note a failure; True when it is the first one."""
        self._resting_until = time.monotonic() + self._pause_s
        if self.active:
            return False
        self._over.clear()
        cause = f": {type(error).__name__}: {str(error)[:200]}" if error is not None else ""
        self._log.warning("%s%s", self._begins, cause)
        return True

    def end(self) -> bool:
        """Note that it answers; True when it did not before."""
        if not self.active:
            return False
        self._over.set()
        self._log.warning("%s", self._ends)
        return True

    async def pause(self) -> None:
        """Wait before the next try; jitter keeps processes that failed together apart."""
        await asyncio.sleep(self._pause_s * random.uniform(0.5, 1.5))

    async def over(self) -> None:
        """Wait until it has ended."""
        await self._over.wait()
