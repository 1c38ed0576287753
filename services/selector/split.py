"""Where fast ends and powerful begins: a fixed threshold, or the one that sends a given share to powerful models.

The share is kept through a rolling histogram of the strong win rates that each plan's requests had, over this and
the last window of time, shared by all replicas.
"""

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from services.selector.rank import fraction

BINS = 200
WINDOW_S = 3600
# Beside what was seen so many requests are imagined, whose rates have the mean and the deviation that the classifier's
# weights v1 gave 1,700 public prompts: everyday ones, MMLU-Pro and LLMRouter's eleven tasks. More than one would keep
# small plans whose rates lie elsewhere from their share.
PRIOR, PRIOR_MEAN, PRIOR_DEVIATION = 1.0, 0.20, 0.07
# From so many requests on a threshold may be a second old.
SETTLED = 500

Counts = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Split:
    """Where powerful begins: in `place`, of which the share `inside` is powerful, and all bins above are."""

    place: int
    inside: float

    @property
    def threshold(self) -> float:
        """The rate from which requests are powerful; within its bin it is approximate."""
        return (self.place + 1 - self.inside) / BINS

    def powerful(self, rate: float, seed: str) -> bool:
        """Whether a rate is powerful; the seed decides among equal ones, so that a repeated rate is shared out too."""
        place = bin_of(rate)
        return place > self.place or (place == self.place and fraction(f"{seed}/tier") < self.inside)


def window_of(now_unix_s: float) -> int:
    """The number of the window that a moment lies in."""
    return int(now_unix_s // WINDOW_S)


def bin_of(rate: float) -> int:
    """The bin of a strong win rate."""
    return min(BINS - 1, max(0, int(rate * BINS)))


def _prior() -> Counts:
    rates = (np.arange(BINS) + 0.5) / BINS
    # No bin is impossible, nor lost in the rounding of many requests.
    weights = np.exp(-(((rates - PRIOR_MEAN) / PRIOR_DEVIATION) ** 2) / 2) + 1e-3
    return np.asarray(PRIOR * weights / weights.sum())


PRIOR_COUNTS = _prior()


def split(counts: Counts, share: float) -> Split:
    """Where the highest `share` of the counted requests begins."""
    # What lies in each bin and above, and nothing above the last.
    above = np.append(np.cumsum((counts + PRIOR_COUNTS)[::-1])[::-1], 0.0)
    wanted = share * above[0]
    place = max(0, int(np.count_nonzero(above > wanted)) - 1)
    return Split(place, float((wanted - above[place + 1]) / (above[place] - above[place + 1])))


@dataclass
class Histogram:
    """Rates of one plan in two windows: what all replicas saw, and what this one saw since it last told them."""

    shared: dict[int, Counts] = field(default_factory=dict)
    own: dict[int, Counts] = field(default_factory=lambda: defaultdict(lambda: np.zeros(BINS)))

    def counts(self, now_unix_s: float) -> Counts:
        """Both windows together; the older one fades as the younger one fills."""
        current = window_of(now_unix_s)
        fade = 1.0 - (now_unix_s % WINDOW_S) / WINDOW_S
        total = np.zeros(BINS)
        for number, weight in ((current, 1.0), (current - 1, fade)):
            for counted in (self.shared.get(number), self.own.get(number)):
                if counted is not None:
                    total += weight * counted
        return total


class Splits:
    """The histograms of all plans."""

    def __init__(self) -> None:
        self.by_plan: dict[str, Histogram] = defaultdict(Histogram)
        self._known: dict[tuple[str, float], tuple[int, Split]] = {}

    def observe(self, plan: str, rate: float, now_unix_s: float) -> None:
        """Count one request."""
        current, own = window_of(now_unix_s), self.by_plan[plan].own
        if current not in own:
            for window in [window for window in own if window < current - 1]:
                del own[window]
        own[current][bin_of(rate)] += 1

    def of(self, plan: str, share: float, now_unix_s: float) -> Split:
        """Where the highest `share` of a plan's requests begins."""
        second = int(now_unix_s)
        known = self._known.get((plan, share))
        if known is not None and known[0] == second:
            return known[1]
        counts = self.by_plan[plan].counts(now_unix_s)
        found = split(counts, share)
        # Of a few requests each one counts.
        if counts.sum() >= SETTLED:
            if len(self._known) > 10_000:
                self._known.clear()
            self._known[plan, share] = (second, found)
        return found
