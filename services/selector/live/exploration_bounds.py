"""How much may be explored: a share of each plan's requests, and what that may cost more in a day."""

from collections import Counter

DAY_S = 86_400


def day_of(now_unix_s: float) -> int:
    """The number of the day (UTC) that a moment lies in."""
    return int(now_unix_s // DAY_S)


class ExplorationBounds:
    """What this replica may still explore.

    All replicas share the day's budget: each leases a part before it spends it. So they keep it together whatever
    happens to one of them, and what one leased and did not spend is lost for that day.
    """

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()
        self._explored: Counter[str] = Counter()
        self._day = 0
        self._left_nano_usd = 0

    def share(self, plan: str, share: float) -> float:
        """Count a request of a plan; the probability with which it may explore.

        It is 0 while one more would make more than the share of all requests of the plan that this replica has seen.
        """
        self._seen[plan] += 1
        return share if self._explored[plan] + 1 <= share * self._seen[plan] else 0.0

    def left_nano_usd(self, now_unix_s: float) -> int:
        """What is left of the lease for a day."""
        return self._left_nano_usd if day_of(now_unix_s) == self._day else 0

    def lease(self, day: int, nano_usd: int) -> None:
        """Add to what may be spent on a day; what was leased for an earlier one is over."""
        if day != self._day:
            self._day, self._left_nano_usd = day, 0
        self._left_nano_usd += nano_usd

    def spend(self, plan: str, nano_usd: int) -> None:
        """Count that a request of a plan explored, and the most that this costs more."""
        self._explored[plan] += 1
        self._left_nano_usd -= nano_usd
