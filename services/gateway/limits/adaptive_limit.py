"""A number of requests that may run at once, found by watching for signs of too much work.

Signs are told as a ratio: how many times above its target something was. While it stays above, the limit falls below
what runs at the moment; while it does not, the limit rises again, up to the configured most.
"""

# Only so many in a row count: a single one may have met one long piece of work,
IN_A_ROW = 2
# unless it was so many times above the target that a second one would come too late to help those who wait.
STALLED = 5
# Of what runs, when there is too much work: the more, the less, but never less than this at once.
LOWERED_MOST = 0.5
LOWERED_LEAST = 0.95
# Of the limit, when there is not and the limit is reached.
RAISED = 1.1
# When it is not reached, room is kept for so many times as much as runs,
ROOM = 2
# and for so many in any case, if there was never too much work: what comes in a burst is let in step by step.
BURST = 64
# So many may always run: fewer would leave CPU unused while they wait for providers.
LEAST = 16


class AdaptiveLimit:
    """A limit between `LEAST` and the configured most."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.limit = min(BURST, most)
        # Observations in a row with too much work, and without.
        self._above = self._below = 0

    def observe(self, excess: float, running: int) -> int:
        """Take note of how many times above its target something was while so many ran; the limit from now on."""
        if excess > 1:
            self._above, self._below = IN_A_ROW if excess > STALLED else self._above + 1, 0
        else:
            self._above, self._below = 0, self._below + 1
        if self._above == IN_A_ROW:
            self._above = 0
            share = min(LOWERED_LEAST, max(LOWERED_MOST, 1 / excess))
            # Below what runs, not below itself: a part of it leaves before another may come, however long this lasts.
            self.limit = max(min(LEAST, self._most), min(self.limit, int(running * share)))
        elif self._below == IN_A_ROW:
            self._below = 0
            if running >= self.limit:
                self.limit = min(self._most, int(self.limit * RAISED) + 1)
            else:
                self.rest(running)
        return self.limit

    def rest(self, running: int) -> int:
        """Give up room that so few running requests do not need; the limit from now on."""
        self.limit = min(self.limit, max(BURST, ROOM * running))
        return self.limit
