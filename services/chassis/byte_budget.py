"""A bound on the bytes that all calls hold at once, of which no owner takes what others need."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

# An owner may hold so many times what is left for others: alone three quarters of all, two of them three sevenths each.
# So there is room for whoever comes, and nobody is bound to a part of what nobody else wants.
SHARE = 3


class ByteBudget:
    """What may be held at once, in bytes; shared by the whole process."""

    def __init__(self, total: int) -> None:
        self._total = total
        self.held = 0
        # By owner; only of those who hold some.
        self._held_by: Counter[str] = Counter()

    @contextmanager
    def lease(self, owner: str = "") -> Iterator["Lease"]:
        """What one call holds, given back when the block ends.

        Args:
            owner: Whose it is; one without an owner may take all that is left.
        """
        lease = Lease(self, owner)
        try:
            yield lease
        finally:
            self._give_back(lease)

    def take(self, count: int, owner: str = "") -> bool:
        """Take bytes; whether so many were left for this owner."""
        left = self._total - self.held - count
        if left < 0 or (owner and self._held_by[owner] + count > SHARE * left):
            return False
        self.held += count
        if owner:
            self._held_by[owner] += count
        return True

    def _give_back(self, lease: "Lease") -> None:
        self.held -= lease.held
        if lease.owner:
            self._held_by[lease.owner] -= lease.held
            if not self._held_by[lease.owner]:
                del self._held_by[lease.owner]


class Lease:
    """What one call holds of a budget."""

    def __init__(self, budget: ByteBudget, owner: str = "") -> None:
        self._budget = budget
        self.owner = owner
        self.held = 0

    def take(self, count: int) -> bool:
        """Take more; whether so many bytes were left."""
        if not self._budget.take(count, self.owner):
            return False
        self.held += count
        return True
