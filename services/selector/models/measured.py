"""What was measured here beside what is published: one scale for both.

The tasks that models were asked here are harder or easier than the benchmarks, so the two kinds of numbers cannot be
compared as they are. All is in log-odds. Where some models of a fleet were measured at a category, the published
quality of all of them is moved by one distance: the mean, over the tasks asked, of what lies between published and
measured. From there a measured model departs in two ways, both unknown beforehand: by a lead that it has at every
category, and by what it is better or worse at each category alone. Their most likely values, given its tasks, are
taken. So a few tasks of each of five categories say more of a model than those of one category by themselves, and
something of a sixth one, too; many tasks of one category leave nothing to what is published.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from services.chassis.measured_scores import Measured

Array = NDArray[np.float64]

# Standard deviations, in log-odds, of how far models lie from what is published of them: at all categories together,
# and at each beside that. Chosen on the prompts that docs/routing.md's evaluation does not judge by.
LEAD = 1.0
APART = 0.5
# As many tasks as tell little by themselves, one of each level: they do not move the scale of all other models.
PRIOR_TASKS = 4.0
# A share of 0 or 1 has no log-odds.
EDGE = 0.02
# From the published estimate Newton's method is exact to a thousandth after about eight half steps.
STEPS = 12


def on_one_scale(
    published: Array, measured: Sequence[Mapping[str, Measured]], categories: Sequence[str]
) -> Array:
    """How far what was measured moves the quality of every model at every category, in log-odds.

    Args:
        published: Each model's quality by the catalog, 0 to 1, by model and category.
        measured: How each model did here by category; empty for one that was not asked.
        categories: The names of the columns.
    """
    tasks = np.array([[float(one[c].n) if c in one else 0.0 for c in categories] for one in measured])
    share = np.array([[one[c].share if c in one else 0.0 for c in categories] for one in measured])
    before = log_odds(published)
    scale = before + _distances(published, tasks, share)
    after = scale.copy()
    asked = tasks.any(axis=1)
    after[asked] = _likeliest(scale[asked], tasks[asked], share[asked])
    return np.asarray(after - before)


def moved(quality: Array, by: Array) -> Array:
    """A quality of 0 to 1, moved in log-odds."""
    return np.asarray(1.0 / (1.0 + np.exp(-(log_odds(quality) + by))))


def log_odds(share: Array) -> Array:
    """Log-odds of shares, those of nearly 0 and 1 taken as `EDGE` off them."""
    clipped = np.clip(share, EDGE, 1 - EDGE)
    return np.asarray(np.log(clipped / (1 - clipped)))


def _distances(published: Array, tasks: Array, share: Array) -> Array:
    """How much easier the tasks of each category were than its benchmarks; 0 for one that nobody was asked."""
    # An uncertain share moves the others less: few tasks are drawn towards what is published, which moves nothing.
    drawn = (share * tasks + published * PRIOR_TASKS) / (tasks + PRIOR_TASKS)
    total = (tasks * (log_odds(drawn) - log_odds(published))).sum(axis=0)
    return np.asarray(total / np.maximum(tasks.sum(axis=0), 1.0))


def _likeliest(scale: Array, tasks: Array, share: Array) -> Array:
    """The likeliest log-odds of each model at each category, from where it was expected and what it solved."""
    width = scale.shape[1]
    spread = LEAD**2 * np.ones((width, width)) + APART**2 * np.eye(width)
    found = scale.copy()
    for _ in range(STEPS):
        chance = np.clip(1.0 / (1.0 + np.exp(-found)), EDGE, 1 - EDGE)
        weight = tasks * chance * (1 - chance)
        # What each task's outcome says of the log-odds, times its weight; where nothing was asked both are 0.
        pull = weight * (found - scale) + tasks * (share - chance)
        likeliest = (
            scale
            + np.linalg.solve(np.eye(width) + spread * weight[:, None, :], (pull @ spread)[..., None])[..., 0]
        )
        # Half the way: a whole step may leap over a likeliest value near 0 or 1.
        found = (found + likeliest) / 2
    return np.asarray(found)
