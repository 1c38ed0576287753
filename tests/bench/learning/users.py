"""Users with a taste of their own: how many of them like a model's answers, by kind of request, and when that changes."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.chassis.draws import fraction
from services.chassis.learning import level_of

Shares = NDArray[np.float64]
# What a published score says of these users' taste: on the scale of log-odds, it is off by so much (one deviation).
ERROR = 0.7
# Verdicts are given on this share of answers, and the displeased give them so many times as often.
VERDICTS, DISPLEASED = 0.08, 2.0
# Of the displeased who say nothing, so many ask again; of the others, so many go on.
AGAIN, ON = 0.25, 0.35
USERS = 300
CATEGORIES = ("chat", "code", "math", "writing")


@dataclass(frozen=True)
class World:
    """One drawn truth.

    Attributes:
        models: The names.
        before: The share of users who like each model, by category, level and model.
        after: The same from the drift on.

    """

    models: tuple[str, ...]
    before: Shares
    after: Shares

    def liked(self, day: int, drift_day: int) -> Shares:
        """The shares of a day."""
        return self.after if day >= drift_day else self.before


@dataclass(frozen=True)
class Asked:
    """A request: whose it is, of what kind, and how likely it needs a powerful model."""

    ident: str
    user: str
    category: int
    rate: float

    @property
    def level(self) -> int:
        """Its level."""
        return level_of(self.rate)


def drawn(models: tuple[str, ...], published: Shares, seed: int, fallen: str) -> World:
    """A truth around published qualities (by category and model); half way, one model's falls by 25 points."""
    chance = np.random.default_rng(seed)
    odds = np.log(published / (1 - published))[:, None, :]
    # Hard requests are liked less, whichever model answers.
    level = np.array([0.6, -0.4])[None, :, None]
    before = 1 / (1 + np.exp(-(odds + level + chance.normal(0, ERROR, (len(published), 2, len(models))))))
    after = before.copy()
    after[:, :, models.index(fallen)] = np.maximum(0.05, after[:, :, models.index(fallen)] - 0.25)
    return World(models, before, after)


def day_of_requests(seed: int, day: int, count: int) -> list[Asked]:
    """The requests of a day; the same for every policy."""
    found = []
    for number in range(count):
        ident = f"{seed}-{day}-{number}"
        kind, user, rate = (fraction(f"{ident}/{what}") for what in ("kind", "user", "rate"))
        # A few users ask much.
        who = int(USERS * user**1.5)
        found.append(Asked(ident, f"u{who}", int(kind * len(CATEGORIES)), rate))
    return found


def verdict(ident: str, liked: float, implicit: float) -> tuple[bool, float] | None:
    """Whether an answer was taken well, and what that counts; None where nobody can know."""
    pleased = fraction(f"{ident}/pleased") < liked
    says = fraction(f"{ident}/says")
    if says < VERDICTS * (1.0 if pleased else DISPLEASED):
        return pleased, 1.0
    acts = fraction(f"{ident}/acts")
    if not pleased and acts < AGAIN:
        return False, implicit
    if acts > 1 - ON:
        return True, implicit
    return None


def interval(values: list[float]) -> tuple[float, float]:
    """The mean over seeds, and twice its standard error."""
    mean = sum(values) / len(values)
    error = math.sqrt(sum((value - mean) ** 2 for value in values) / max(1, len(values) - 1) / len(values))
    return mean, 2 * error
