"""A bound on the bytes that all calls hold at once, of which no owner takes what others need."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from services.chassis import errors

# An owner may hold so many times what is left for others: alone three quarters of all, two of them three sevenths each.
# So there is room for whoever comes, and nobody is bound to a part of what nobody else wants.
SHARE = 3
# Seconds after which a caller may find room that found none.
RETRY_AFTER_S = 1.0


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
            lease.give_back()

    def take(self, count: int, owner: str = "") -> bool:
        """Take bytes; whether so many were left for this owner."""
        left = self._total - self.held - count
        if not self.has(count) or (owner and self._held_by[owner] + count > SHARE * left):
            return False
        self.held += count
        if owner:
            self._held_by[owner] += count
        return True

    def has(self, count: int) -> bool:
        """Whether so many bytes are left at all."""
        return self.held + count <= self._total

    def give_back(self, count: int, owner: str = "") -> None:
        """Give back what was taken for this owner."""
        self.held -= count
        if owner:
            self._held_by[owner] -= count
            if not self._held_by[owner]:
                del self._held_by[owner]


class Lease:
    """What one call holds of a budget.

    Attributes:
        owner: Whose it is; set before anything is taken, or never.
        held: Bytes.

    """

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

    def claim(self, count: int, what: str) -> None:
        """Take more for a caller.

        Args:
            count: Bytes.
            what: What they are bytes of, such as requests.

        Raises:
            Exhausted: so many are not left, or not for this owner.
        """
        if self.take(count):
            return
        if self._budget.has(count):
            # A tenant is an organization, or a user without one.
            message = f"too many bytes of {what} of your organization, or of yours, are under way here"
        else:
            message = f"too many bytes of {what} are under way here"
        raise errors.Exhausted(f"{message}; try again", retry_after_s=RETRY_AFTER_S)

    def give_back(self) -> None:
        """Give back what it holds."""
        self._budget.give_back(self.held, self.owner)
        self.held = 0
