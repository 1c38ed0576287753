"""What was measured here beside what is published: one scale for both.

The tasks that models were asked here are harder or easier than the benchmarks, so the two kinds of numbers cannot be
compared as they are. Where some models of a fleet were measured at a category, the published quality of all of them is
moved by one distance in log-odds: the mean, over the tasks asked, of what lies between published and measured. A
measured model then has the mean of its own tasks and of that estimate, which counts like some further ones; a model
that was not measured has the estimate alone. What users thought of answers is put beside both in the same way.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# As many tasks as tell little by themselves: one of each level.
PRIOR_TASKS = 4.0
# A share of 0 or 1 has no log-odds.
EDGE = 0.02


class Share(Protocol):
    """A share that was counted."""

    @property
    def share(self) -> float:
        """Of what went well, 0 to 1."""

    @property
    def n(self) -> float:
        """Of how many."""


def on_one_scale(
    published: Array, measured: Sequence[Share | None], prior: Array | float = PRIOR_TASKS
) -> Array:
    """The quality of every model, 0 to 1, on the scale of the tasks that were asked here.

    Args:
        published: Each model's quality by the catalog, 0 to 1.
        measured: How each did here; None for one that was not asked.
        prior: Like how many tasks the published quality counts.
    """
    tasks = np.array([float(one.n) if one else 0.0 for one in measured])
    if not tasks.any():
        return published
    share = np.array([one.share if one else 0.0 for one in measured])
    asked = tasks > 0
    # An uncertain share moves the others less: few tasks are drawn towards what is published, which moves nothing.
    drawn = (share * tasks + published * prior) / (tasks + prior)
    moved = _log_odds(drawn[asked]) - _log_odds(published[asked])
    distance = float(np.average(moved, weights=tasks[asked]))
    estimate = 1.0 / (1.0 + np.exp(-(_log_odds(published) + distance)))
    return np.asarray((share * tasks + estimate * prior) / (tasks + prior))


def _log_odds(share: Array) -> Array:
    clipped = np.clip(share, EDGE, 1 - EDGE)
    return np.asarray(np.log(clipped / (1 - clipped)))
