"""Where fast ends and powerful begins: a fixed threshold, or the one that sends a given share to powerful models.

The share is kept through a rolling histogram of the strong win rates that each plan's requests had, over this and
the last window of time, shared by all replicas. Each version of the classifier's weights has histograms of its own: a
rate of one means nothing for another, whose rates may lie on another level altogether.
"""

from collections import OrderedDict, defaultdict
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from services.chassis.draws import fraction

BINS = 200
WINDOW_S = 3600
# Beside the requests seen so many are imagined, whose rates have the mean and the deviation that the classifier's
# weights give the development part of its corpus. More than one would keep small plans whose rates lie elsewhere from
# their share.
PRIOR, PRIOR_MEAN, PRIOR_DEVIATION = 1.0, 0.51, 0.42
# From so many requests on a threshold may be a second old.
SETTLED = 500
# So many histograms are kept, of some 6 KiB each; the least recently used one is dropped.
MOST = 1000

Counts = NDArray[np.float64]
# A plan, and the version of the weights that judged.
Key: TypeAlias = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Threshold:
    """Where powerful begins: in the bin `place`, of which the share `inside` is powerful, and all bins above are."""

    place: int
    inside: float

    @property
    def rate(self) -> float:
        """The rate from which requests are powerful; within its bin it is approximate."""
        return (self.place + 1 - self.inside) / BINS

    def powerful(self, rate: float, seed: str) -> bool:
        """Whether a rate is powerful; the seed decides among equal ones, so that a repeated rate is divided too."""
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


def threshold(counts: Counts, share: float) -> Threshold:
    """Where the highest `share` of the counted requests begins."""
    # What lies in each bin and above, and nothing above the last.
    above = np.append(np.cumsum((counts + PRIOR_COUNTS)[::-1])[::-1], 0.0)
    wanted = share * above[0]
    place = max(0, int(np.count_nonzero(above > wanted)) - 1)
    return Threshold(place, float((wanted - above[place + 1]) / (above[place] - above[place + 1])))


@dataclass
class Histogram:
    """Rates of one plan by one version, by window: as published by all replicas, and what this one adds to that."""

    published: dict[int, Counts] = field(default_factory=dict)
    unpublished: dict[int, Counts] = field(default_factory=lambda: defaultdict(lambda: np.zeros(BINS)))
    # The window in which it was last used.
    used: int = 0

    def counts(self, now_unix_s: float) -> Counts:
        """Both windows together; the older one fades as the younger one fills."""
        current = window_of(now_unix_s)
        fade = 1.0 - (now_unix_s % WINDOW_S) / WINDOW_S
        total = np.zeros(BINS)
        for number, weight in ((current, 1.0), (current - 1, fade)):
            for counted in (self.published.get(number), self.unpublished.get(number)):
                if counted is not None:
                    total += weight * counted
        return total


class PowerfulShares:
    """The histograms of all plans and versions, and the thresholds that keep a share."""

    def __init__(self, most: int = MOST) -> None:
        """Keep at most `most` histograms."""
        # The least recently used one comes first.
        self.histograms: OrderedDict[Key, Histogram] = OrderedDict()
        self._most = most
        # Thresholds, and the second that they were computed in.
        self._thresholds: dict[tuple[Key, float], tuple[int, Threshold]] = {}

    def observe(self, plan: str, version: str, rate: float, now_unix_s: float) -> None:
        """Count one request."""
        current = window_of(now_unix_s)
        counted = self._histogram((plan, version), now_unix_s).unpublished
        if current not in counted:
            for window in [window for window in counted if window < current - 1]:
                del counted[window]
        counted[current][bin_of(rate)] += 1

    def threshold(self, plan: str, version: str, share: float, now_unix_s: float) -> Threshold:
        """Where the highest `share` of a plan's requests begins, among those that a version judged."""
        key, second = (plan, version), int(now_unix_s)
        known = self._thresholds.get((key, share))
        if known is not None and known[0] == second:
            return known[1]
        counts = self._histogram(key, now_unix_s).counts(now_unix_s)
        found = threshold(counts, share)
        # Of a few requests each one counts.
        if counts.sum() >= SETTLED:
            if len(self._thresholds) > 10_000:
                self._thresholds.clear()
            self._thresholds[key, share] = (second, found)
        return found

    def forget(self, now_unix_s: float) -> None:
        """Drop what was used neither in this window nor in the last: all its counts have faded."""
        oldest = window_of(now_unix_s) - 1
        for key in [key for key, one in self.histograms.items() if one.used < oldest]:
            del self.histograms[key]

    def _histogram(self, key: Key, now_unix_s: float) -> Histogram:
        found = self.histograms.get(key)
        if found is None:
            if len(self.histograms) >= self._most:
                self.histograms.popitem(last=False)
            found = self.histograms[key] = Histogram()
        self.histograms.move_to_end(key)
        found.used = max(found.used, window_of(now_unix_s))
        return found
