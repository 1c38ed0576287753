"""Whether answers are liked as much with what outcomes have taught as without: an off-policy estimate.

Each request where the two policies differ, either of which might have come first, gives a doubly robust term: what was
expected of the one less what was expected of the other, and, where one of them was chosen, how far its outcome lay from
what was expected of it, divided by the probability of that choice (Dudik, Langford and Li, "Doubly robust policy
evaluation and learning", ICML 2011). What was expected is as it was known before the outcome, so no outcome judges what
was learnt from itself. Probabilities are clipped from below, so that no request counts more than a few hundred others.

The mean of the terms is a ratio of sums by user and day, whose variance the delta method gives. Its interval holds for
one look; the estimate is made anew again and again, and a wrong one is undone as outcomes come in.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from services.gateway.learning.evidence import faded

# What divides an outcome is at least this.
LEAST_PROBABILITY = 0.004
# The estimate must rest on so many outcomes before evidence may act.
LEAST_OUTCOMES = 100
# How much worse, as a share of answers that are liked, learned evidence may be by the lower bound of the interval.
MARGIN = 0.03
# Of one side of the interval: 90 %.
Z = 1.2816


@dataclass(frozen=True, slots=True)
class Day:
    """Sums over the users of one day, in one category."""

    day: date
    category: str
    counted: int
    weight: float
    difference: float
    weight_squares: float
    difference_squares: float
    products: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """By how much more answers are liked with learned evidence, as a share, with an interval of 80 %."""

    category: str
    counted: int
    mean: float
    low: float
    high: float

    @property
    def acts(self) -> bool:
        """Whether evidence may act: it looks no worse, and is hardly worse at the lower bound."""
        return self.counted >= LEAST_OUTCOMES and self.mean >= 0 and self.low >= -MARGIN


def estimates(days: Iterable[Day], today: date) -> list[Estimate]:
    """The estimate of each category, in their order."""
    by_category: dict[str, list[Day]] = {}
    for one in days:
        if faded(one.day, today) and one.weight > 0:
            by_category.setdefault(one.category, []).append(one)
    return [_estimate(category, ones, today) for category, ones in sorted(by_category.items())]


def _estimate(category: str, days: list[Day], today: date) -> Estimate:
    fades = [faded(one.day, today) for one in days]
    weight = sum(fade * one.weight for fade, one in zip(fades, days, strict=True))
    mean = sum(fade * one.difference for fade, one in zip(fades, days, strict=True)) / weight
    squares = sum(
        fade**2 * (one.difference_squares - 2 * mean * one.products + mean**2 * one.weight_squares)
        for fade, one in zip(fades, days, strict=True)
    )
    error = math.sqrt(max(0.0, squares)) / weight
    counted = sum(one.counted for one in days)
    return Estimate(category, counted, mean, mean - Z * error, mean + Z * error)
