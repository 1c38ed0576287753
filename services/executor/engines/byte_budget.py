"""A bound on the bytes that all calls hold at once."""

from collections.abc import Iterator
from contextlib import contextmanager

from services.executor.engines.outcomes import ErrorClass, Failed

# After so many seconds another call may have given its bytes back.
RETRY_AFTER_S = 1.0


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

    def take(self, count: int) -> None:
        """Take bytes.

        Raises:
            Failed: so many are not left; it is worth trying again.

        """
        if self.held + count > self._total:
            raise Failed(
                ErrorClass.BUSY,
                "too many pictures are being sent at once; try again, or send fewer",
                retry_after_s=RETRY_AFTER_S,
            )
        self.held += count


class Lease:
    """What one call holds of a budget."""

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self.held = 0

    def take(self, count: int) -> None:
        """Take more.

        Raises:
            Failed: so many are not left.

        """
        self._budget.take(count)
        self.held += count
