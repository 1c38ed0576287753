"""How long a request may wait for a slot: for a while in a queue that is young, hardly in one that stands.

A burst, or a moment in which others take the CPU, leaves a queue that is soon served empty: whoever waits in it is
late, and a refusal would only bring them back. A queue that is never served empty delays all who pass through it for
nothing, so it is kept short. To tell both apart by time is the idea of CoDel (RFC 8289), to do it for each tenant that
of FQ-CoDel (RFC 8290), and to say how long a request may wait when it comes that of Maurer, "Fail at Scale" (ACM Queue
13, 8, 2015).
"""

from typing import NamedTuple


class Patience(NamedTuple):
    """When a queue stands, and how long may be waited in it; in seconds."""

    # Of a queue that has not been served empty. The start of a process takes the CPU of a small machine for about as
    # long, and whoever calls a model waits as long for an answer.
    young_s: float = 5.0
    # The longest wait in a queue that stands: no longer than a refused caller is told to wait.
    standing_s: float = 1.0

    def is_over(self, since: float, now: float) -> bool:
        """Whether a queue that has not been served empty since a time stands."""
        return now >= since + self.young_s

    def until(self, since: float, now: float) -> float:
        """When a request that comes to such a queue now has waited enough."""
        return max(since + self.young_s, now + self.standing_s)


USUAL = Patience()
