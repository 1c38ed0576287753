"""A limit of its own for requests that are refused as wrong before admission counts them.

Reading and checking a body costs time that no plan's limit sees, so a key may not have it done again and again for
nothing. It is counted in this process' memory, in windows of a minute; refused requests of 16 MiB count 17 times.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from services.chassis import errors
from services.gateway.limits.refusal import REFUSALS

WINDOW_S = 60.0
# Keys counted in one window; beyond them the oldest is forgotten.
MOST_KEYS = 10_000
# What a refused request counts for each so many bytes of it, beside itself.
BYTES = 2**20


@dataclass(slots=True)
class Attempt:
    """A request that may turn out to be wrong, with what is known of its size."""

    size: int = 0


class MistakeLimit:
    """How many wrong requests each key may send."""

    def __init__(self, most_a_minute: int, *, now: Callable[[], float] = time.monotonic) -> None:
        """Allow so many; 0 is no limit."""
        self._most = most_a_minute
        self._now = now
        self._ends = 0.0
        self._counts: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._counts)

    def refusal(self, key_id: str) -> errors.Exhausted | None:
        """What a key reads that has sent too many of them in this window, counted; None if it has not."""
        left_s = self._ends - self._now()
        if left_s <= 0:
            self._counts.clear()
        elif self._most and self._counts.get(key_id, 0) >= self._most:
            REFUSALS.labels("key", "TOO_MANY_MISTAKES", "here").inc()
            return errors.Exhausted(
                f"this key sent too many wrong requests; mend them, and try again in {left_s:.0f} s",
                reason="TOO_MANY_MISTAKES",
                retry_after_s=left_s,
            )
        return None

    @contextmanager
    def guarding(self, key_id: str) -> Iterator[Attempt]:
        """Count the request in the block if it turns out to be wrong before anybody was asked to answer it.

        Raises:
            Exhausted: the key has sent too many of them in this window.
        """
        if refusal := self.refusal(key_id):
            raise refusal
        attempt = Attempt()
        try:
            yield attempt
        except (errors.Invalid, errors.Forbidden, errors.NotFound) as fault:
            # What a provider found wrong carries the executor's report, and was counted by admission.
            if not fault.details:
                self._count(key_id, 1 + attempt.size // BYTES)
            raise

    def _count(self, key_id: str, amount: int) -> None:
        now = self._now()
        if now >= self._ends:
            self._counts.clear()
            self._ends = now + WINDOW_S
        if key_id not in self._counts and len(self._counts) >= MOST_KEYS:
            del self._counts[next(iter(self._counts))]
        self._counts[key_id] = self._counts.get(key_id, 0) + amount
