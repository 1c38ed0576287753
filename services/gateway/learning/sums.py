"""Outcomes of one day, summed: for the evidence of each model, and for the comparison of the two policies."""

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from services.gateway.learning import comparison, evidence


@dataclass(frozen=True, slots=True)
class Choice:
    """A model that might have come first, the probability of that, and the share of good outcomes that was expected."""

    model: str
    probability: float
    quality: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one answer.

    Attributes:
        unit: Whose it was: a user, or a key that has none.
        category: The kind of task.
        level: The level of the request.
        chosen: The model that came first, and answered.
        current: What comes first without what outcomes have taught.
        learned: What comes first with it.
        good: Whether the outcome was good.
        weight: What it counts, 0 to 1.

    """

    unit: str
    category: str
    level: int
    chosen: Choice
    current: Choice
    learned: Choice
    good: bool
    weight: float


def summed(day: date, outcomes: Iterable[Outcome]) -> tuple[list[evidence.Day], list[comparison.Day]]:
    """The sums of a day, in the order of their keys.

    Outcomes of one user are alike, and one user must not decide for all: together they count, for each category and
    level, as the square root of their number.
    """
    known = list(outcomes)
    totals: defaultdict[tuple[str, str, int], float] = defaultdict(float)
    for one in known:
        totals[one.unit, one.category, one.level] += one.weight
    days: dict[tuple[str, int, str], list[float]] = {}
    # By category and user: outcomes, weight, weighted difference.
    units: dict[str, dict[str, list[float]]] = {}
    for one in known:
        weight = one.weight / math.sqrt(max(1.0, totals[one.unit, one.category, one.level]))
        sums = days.setdefault((one.category, one.level, one.chosen.model), [0, 0, 0.0, 0.0])
        for place, more in enumerate((one.good, 1, one.good * weight, weight)):
            sums[place] += more
        if comparable(one):
            of_unit = units.setdefault(one.category, {}).setdefault(one.unit, [0, 0.0, 0.0])
            for place, more in enumerate((1, weight, weight * difference(one))):
                of_unit[place] += more
    return (
        [
            evidence.Day(day, *key, liked=int(liked), counted=int(counted), good=good, weight=weight)
            for key, (liked, counted, good, weight) in sorted(days.items())
        ],
        [_compared(day, category, list(by_unit.values())) for category, by_unit in sorted(units.items())],
    )


def comparable(one: Outcome) -> bool:
    """Whether an outcome tells the two policies apart: they differ, and either model might have been chosen."""
    return (
        one.current.model != one.learned.model and min(one.current.probability, one.learned.probability) > 0
    )


def difference(one: Outcome) -> float:
    """By how much more the answer is liked with what outcomes have taught: the doubly robust term of one request."""
    expected = one.learned.quality - one.current.quality
    surprise = one.good - one.chosen.quality
    weight = 1 / max(one.chosen.probability, comparison.LEAST_PROBABILITY)
    sign = (one.chosen.model == one.learned.model) - (one.chosen.model == one.current.model)
    return expected + sign * weight * surprise


def _compared(day: date, category: str, units: list[list[float]]) -> comparison.Day:
    return comparison.Day(
        day,
        category,
        counted=int(sum(counted for counted, _, _ in units)),
        weight=sum(weight for _, weight, _ in units),
        difference=sum(total for _, _, total in units),
        weight_squares=sum(weight**2 for _, weight, _ in units),
        difference_squares=sum(total**2 for _, _, total in units),
        products=sum(weight * total for _, weight, total in units),
    )
