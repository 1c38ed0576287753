"""What an evaluation says: quality against cost, what is worth having, and how far the judge can be trusted."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from services.chassis.measured_scores import Measured, Scores
from services.chassis.money import usd
from services.gateway.confidence import Z
from services.gateway.evaluation.design import LEAST
from services.gateway.evaluation.estimates import Estimate, better
from services.gateway.evaluation.results import ANSWER
from services.gateway.evaluation.verdicts import pairs as pairs_of

Estimates = Mapping[str, Mapping[str, Estimate]]


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """One model.

    Attributes:
        name: The model.
        answers: How many were graded.
        quality: The mean over categories of its share of solved tasks, 0 to 1.
        low: The least that quality may be, with 95 % confidence.
        high: The most.
        usd_per_task: What an answer cost, in the mean over categories.
        on_frontier: Whether no other model is both as good and as cheap.
        replaceable: How sure it is, in the least sure category, that a cheaper model is better; None where it is
            the best for its price in some category.
        by_category: Its estimates.

    """

    name: str
    answers: int
    quality: float
    low: float
    high: float
    usd_per_task: float
    on_frontier: bool
    replaceable: float | None
    by_category: Mapping[str, Estimate]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far a judge agrees with itself and with checks.

    Attributes:
        judge: Its name.
        reference: Whose answers the others were compared with.
        pairs: Pairs of answers, compared in both orders: of how many it said the same twice.
        first: Pairs of which it did not say the same: of how many it preferred what stood first, half without a bias.
        checked: Pairs of which checks say which answer is right: of how many it said the same, twice.

    """

    judge: str
    reference: str
    pairs: Estimate
    first: Estimate
    checked: Estimate


def models(estimates: Estimates, rows: Iterable[Mapping[str, Any]]) -> list[ModelSummary]:
    """All models that have an answer in every category that has any, the best first."""
    costs: dict[tuple[str, str], list[int]] = {}
    for row in rows:
        if row["kind"] == ANSWER:
            costs.setdefault((row["category"], row["model"]), []).append(row["nano_usd"])
    known = {
        category: {name: one for name, one in found.items() if one.n} for category, found in estimates.items()
    }
    known = {category: found for category, found in known.items() if found}
    names = [
        name
        for name in dict.fromkeys(name for found in known.values() for name in found)
        if all(name in found for found in known.values())
    ]
    usd_of = {
        (category, name): usd(sum(costs.get((category, name), [0])) / len(costs.get((category, name), [0])))
        for category in known
        for name in names
    }
    overall = {
        name: (
            sum(found[name].share for found in known.values()) / len(known),
            sum(usd_of[category, name] for category in known) / len(known),
        )
        for name in names
    }
    summaries = []
    for name, (quality, cost) in overall.items():
        radius = Z * math.sqrt(sum(found[name].variance() for found in known.values())) / len(known)
        summaries.append(
            ModelSummary(
                name,
                sum(found[name].n for found in known.values()),
                quality,
                max(0.0, quality - radius),
                min(1.0, quality + radius),
                cost,
                not any(_dominates(other, overall[name]) for other in overall.values()),
                _replaceable(name, names, known, usd_of),
                {category: found[name] for category, found in known.items()},
            )
        )
    return sorted(summaries, key=lambda one: (-one.quality, one.usd_per_task))


def agreement(rows: Iterable[Mapping[str, Any]]) -> Agreement | None:
    """How far the judge agrees; None where it compared nothing."""
    listed = list(rows)
    shares = {
        (row["model"], row["task"], row["digest"]): row["share"] for row in listed if row["kind"] == ANSWER
    }
    judged = [(pair, said.compared, said.both) for pair, said in pairs_of(listed).items() if said.both]
    if not judged:
        return None
    latest = judged[-1][0]
    pairs, first, checked = Estimate(), Estimate(), Estimate()
    for pair, compared, (one, other) in judged:
        if (pair.judge, pair.reference) != (latest.judge, latest.reference):
            continue
        pairs += Estimate(1, one == other)
        # The answer stood first once, and then second. Both verdicts on a pair depend on each other, so a pair is one.
        first += Estimate(one != other, one > other)
        if compared:
            right = shares[pair.model, pair.task, pair.digest] == 1.0
            checked += Estimate(1, one == other == (1 if right else -1))
    return Agreement(latest.judge, latest.reference, pairs, first, checked)


def scores(estimates: Estimates, rows: Iterable[Mapping[str, Any]], earlier: Scores) -> Scores:
    """What the selector is told: these scores, and of earlier ones those that were not measured anew."""
    days: dict[tuple[str, str], str] = {}
    for row in rows:
        if row["kind"] == ANSWER:
            days[row["category"], row["model"]] = row["at"][:10]
    merged = {name: dict(by_category) for name, by_category in earlier.items()}
    for category, found in estimates.items():
        for name, one in found.items():
            # Fewer tasks say less than what is published.
            if one.n >= LEAST:
                low, high = one.interval
                merged.setdefault(name, {})[category] = Measured(
                    one.share, one.n, low, high, days[category, name]
                )
    return merged


def _dominates(other: tuple[float, float], one: tuple[float, float]) -> bool:
    """Whether a quality and cost is as good as another in both, and not the same."""
    return other != one and other[0] >= one[0] and other[1] <= one[1]


def _replaceable(
    name: str,
    names: Iterable[str],
    known: Estimates,
    usd_of: Mapping[tuple[str, str], float],
) -> float | None:
    least = 1.0
    for category, found in known.items():
        cheaper = [
            better(found[other], found[name])
            for other in names
            if other != name
            and usd_of[category, other] <= usd_of[category, name]
            and found[other].expected >= found[name].expected
        ]
        if not cheaper:
            return None
        least = min(least, max(cheaper))
    return least
