"""A bound on the bytes that all calls hold at once."""

from collections.abc import Iterator
from contextlib import contextmanager


class ByteBudget:
    """What may be held at once, in bytes; shared by the whole process."""

    def __init__(self, total: int) -> None:
        self._total = total
        self.held = 0

    @contextmanager
    def lease(self) -> Iterator["Lease"]:
        """What one call holds, given back when the block ends."""
        lease = Lease(self)
        try:
            yield lease
        finally:
            self.held -= lease.held

    def take(self, count: int) -> bool:
        """Take bytes; whether so many were left."""
        if self.held + count > self._total:
            return False
        self.held += count
        return True


class Lease:
    """What one call holds of a budget."""

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self.held = 0

    def take(self, count: int) -> bool:
        """Take more; whether so many bytes were left."""
        if not self._budget.take(count):
            return False
        self.held += count
        return True
