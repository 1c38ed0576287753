"""What outcomes have taught of the models: how many users liked their answers, by category and level of request.

Learned evidence enters where measured scores do. The quality that is published, or measured by `lumni evaluate`, is the
prior; it counts like as many outcomes as lie behind it. Both are put on one scale, that of the outcomes, so what all
models have in common (an easy crowd, people who press a thumb only when displeased) favours none of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from services.selector.models.deployment_table import Array, CategoryRanking, DeploymentTable
from services.selector.models.measured import PRIOR_TASKS, log_odds, moved

# However many tasks a model was measured at, outcomes must be able to outweigh them: users decide in the end.
MOST_PRIOR = 40.0
# A model may be as good as its quality's upper bound, with a probability of 95 %, or as bad as its lower one.
Z = 1.645


@dataclass(frozen=True, slots=True)
class Outcomes:
    """How one model's answers to requests of one kind were taken.

    Attributes:
        share: Of good outcomes, 0 to 1, where old ones count less.
        n: How many outcomes of today they are worth.
        liked: How many were good.
        counted: How many there were.
        on: The day of the newest, YYYY-MM-DD.

    """

    share: float
    n: float
    liked: int
    counted: int
    on: str

    def __str__(self) -> str:
        return f"liked by {self.liked} of {self.counted} here, {self.on}"


# By model, for one category and level.
ByModel: TypeAlias = Mapping[str, Outcomes]
Cell: TypeAlias = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that outcomes have taught so far, and the categories in which that may act."""

    version: int = 0
    cells: Mapping[Cell, ByModel] = field(default_factory=dict)
    acting: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class LearnedRanking:
    """How the deployments rank at one kind of request by what outcomes have taught, and how sure that is."""

    ranking: CategoryRanking
    # Between which their qualities lie.
    low: Array
    high: Array
    # Where they rank if they are alone in being as good, or as bad, as they may be.
    rank_low: Array
    rank_high: Array
    outcomes: ByModel


def restored(
    table: DeploymentTable, known: CategoryRanking, qualities: Mapping[str, float]
) -> LearnedRanking:
    """The ranking by the qualities that learned evidence gave models in the past; of others as it is `known`."""
    quality = np.array(
        [qualities.get(one.model, now) for one, now in zip(table.deployments, known.quality, strict=True)]
    )
    ranking = table.ranked(quality) if qualities else known
    return LearnedRanking(ranking, quality, quality, ranking.rank, ranking.rank, {})


def _with_outcomes(known: Array, outcomes: Sequence[Outcomes | None], prior: Array) -> Array:
    """The quality of every model, 0 to 1, on the scale of outcomes.

    Args:
        known: What is published or measured, which counts like `prior` outcomes.
        outcomes: Those of each model; None where there are none.
        prior: See above.
    """
    count = np.array([one.n if one else 0.0 for one in outcomes])
    if not count.any():
        return known
    share = np.array([one.share if one else 0.0 for one in outcomes])
    # An uncertain share moves the others less: few outcomes are drawn towards what is known, which moves nothing.
    drawn = (share * count + known * prior) / (count + prior)
    distance = np.average(log_odds(drawn) - log_odds(known), weights=count)
    return np.asarray((share * count + moved(known, np.full(len(known), distance)) * prior) / (count + prior))


def ranked(
    table: DeploymentTable, category: str, outcomes: ByModel, *, multilingual: bool = False
) -> LearnedRanking:
    """The ranking at a category by the outcomes of one level."""
    known = table.ranking(category, multilingual=multilingual)
    measured = [scores.get(category) for scores in table.measured]
    prior = np.minimum(PRIOR_TASKS + np.array([float(one.n) if one else 0.0 for one in measured]), MOST_PRIOR)
    found = [outcomes.get(deployment.model) for deployment in table.deployments]
    quality = _with_outcomes(known.quality, found, prior)
    count = prior + np.array([one.n if one else 0.0 for one in found])
    # Of a beta distribution with this mean and as many observations.
    error = np.sqrt(quality * (1 - quality) / (count + 1))
    low, high = np.clip(quality - Z * error, 0, 1), np.clip(quality + Z * error, 0, 1)
    return LearnedRanking(
        ranking=table.ranked(quality) if outcomes else known,
        low=low,
        high=high,
        rank_low=table.ranks(low, quality),
        rank_high=table.ranks(high, quality),
        outcomes=outcomes,
    )
