"""How many requests may run at once, found by watching how long a round trip to the executor takes that does nothing.

While this process and the executor have CPU to spare, such a round trip takes a few milliseconds. When more work
arrives than they get CPU for, it waits among the work of all requests, as each of their steps does. So round trips that
stay slow lower the limit below what runs at the moment, and quick ones raise it again, up to the configured most. How
long providers take does not count, nor do open streams that send little, however many they are.
"""

# There is too much work when round trips take longer than this, in seconds.
TARGET_S = 0.05
# Only so many in a row count: a single one may have met one long piece of work,
IN_A_ROW = 2
# unless it took so much longer that a second one would come too late to help those who wait, in seconds.
STALLED_S = 0.25
# Of what runs, when round trips are slow: the slower, the less, but never less than this at once.
LOWERED_MOST = 0.5
LOWERED_LEAST = 0.95
# Of the limit, when they are quick and it is reached.
RAISED = 1.1
# So many may always run: fewer would leave CPU unused while they wait for providers.
LEAST = 16


class AdaptiveLimit:
    """A limit between `LEAST` and the configured most."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.limit = most
        # Round trips in a row that were slow, and that were quick.
        self._slow = self._quick = 0

    def observe(self, round_trip_s: float, running: int) -> int:
        """Take note of a round trip while so many requests ran; the limit from now on."""
        if round_trip_s > TARGET_S:
            self._slow, self._quick = IN_A_ROW if round_trip_s > STALLED_S else self._slow + 1, 0
        else:
            self._slow, self._quick = 0, self._quick + 1
        if self._slow == IN_A_ROW:
            self._slow = 0
            share = min(LOWERED_LEAST, max(LOWERED_MOST, TARGET_S / round_trip_s))
            # Below what runs, not below itself: a part of it leaves before another may come, however long this lasts.
            self.limit = max(min(LEAST, self._most), min(self.limit, int(running * share)))
        elif self._quick == IN_A_ROW:
            self._quick = 0
            if running >= self.limit:
                self.limit = min(self._most, int(self.limit * RAISED) + 1)
        return self.limit
