"""What the sums of outcomes say of each model: the share of good ones, where old ones count less."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

# After so many days an outcome counts half: models, prompts and users change.
HALF_LIFE_DAYS = 14.0
# For so many days outcomes count at all; the oldest then count a sixteenth.
WINDOW_DAYS = 56


@dataclass(frozen=True, slots=True)
class Day:
    """The outcomes of one model on one day, at requests of one category and level."""

    day: date
    category: str
    level: int
    model: str
    liked: int
    counted: int
    good: float
    weight: float


@dataclass(frozen=True, slots=True)
class Outcomes:
    """The same of all days: `weight` is how many outcomes of today they are worth."""

    category: str
    level: int
    model: str
    share: float
    weight: float
    liked: int
    counted: int
    last_on: date


def faded(day: date, today: date) -> float:
    """What an outcome of a day counts today."""
    age = (today - day).days
    return 0.5 ** (max(0, age) / HALF_LIFE_DAYS) if age <= WINDOW_DAYS else 0.0


def outcomes(days: Iterable[Day], today: date) -> list[Outcomes]:
    """The outcomes of each model, by category and level, in their order."""
    found: dict[tuple[str, int, str], list[Day]] = {}
    for one in days:
        if faded(one.day, today) and one.weight > 0:
            found.setdefault((one.category, one.level, one.model), []).append(one)
    result = []
    for key, ones in sorted(found.items()):
        weight = sum(faded(one.day, today) * one.weight for one in ones)
        good = sum(faded(one.day, today) * one.good for one in ones)
        result.append(
            Outcomes(
                *key,
                share=good / weight,
                weight=weight,
                liked=sum(one.liked for one in ones),
                counted=sum(one.counted for one in ones),
                last_on=max(one.day for one in ones),
            )
        )
    return result
