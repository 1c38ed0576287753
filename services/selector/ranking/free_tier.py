"""Spend free quota where it matters.

Free deployments are tried before paid ones. Among them, hard requests get the strongest, and easy ones the weakest
that will do, so that scarce, strong quota is there when it is needed. Daily quotas are paced: one that is ahead of
the day counts as scarce until the day catches up. A long request goes where requests are counted, a short one where
tokens are: each takes the smaller share of what the day has left. Nothing that has quota is withheld when nothing
else is free.
"""

import numpy as np

from services.selector.live.snapshot import DAILY, Headroom, Snapshot
from services.selector.models.deployment_table import Array, CategoryRanking, DeploymentTable, Mask

DAY_S = 86_400.0
# A daily quota begins to count as scarce when it is less than this share of itself behind the day.
SLACK = 0.1
# What a minute's quota that is nearly used up costs in preference: bursts go where quota is left.
CROWDED = 0.1
# What taking e times the share of a day that another would lose costs in preference, for easy and hard requests:
# while there is plenty, and what is added as quotas run ahead of the day.
BURDEN_EASY, BURDEN_EASY_TIGHT = 0.3, 20.0
BURDEN_HARD, BURDEN_HARD_TIGHT = 0.02, 2.0
# A share of the day so small that it does not matter.
LEAST = 1e-5


def urgency(table: DeploymentTable, snapshot: Snapshot, now_unix_s: float) -> Array:
    """How scarce each deployment's free quota is, 0 (plenty) to 1 (spent faster than the day passes)."""
    scarcity = np.zeros(len(table))
    for index, headroom in snapshot.headroom.items():
        scarcity[index] = max((_urgency(one, now_unix_s) for one in headroom), default=0.0)
    return scarcity


def preference(
    ranking: CategoryRanking,
    snapshot: Snapshot,
    scarcity: Array,
    usable: Mask,
    tokens: int,
    *,
    powerful: bool,
) -> Array:
    """Which free deployment to take first, highest first; only free ones compare.

    Args:
        ranking: How good they are at the task.
        snapshot: Their remaining quotas.
        scarcity: What `urgency` returns.
        usable: Which of them may and can take such a request; only their quotas count as the caller's.
        tokens: What the request will take.
        powerful: Whether it is a hard one.
    """
    # The share of the day's rest that the request would take.
    burden = np.maximum(
        1.0 / np.maximum(snapshot.requests_left, 1.0), tokens / np.maximum(snapshot.tokens_left, 1.0)
    )
    heavy = np.log(np.maximum(burden, LEAST))
    limited = usable & (np.isfinite(snapshot.requests_left) | np.isfinite(snapshot.tokens_left))
    tight = float(scarcity[limited].mean()) if limited.any() else 0.0
    if powerful:
        return np.asarray(
            ranking.quality - CROWDED * scarcity - (BURDEN_HARD + BURDEN_HARD_TIGHT * tight) * heavy
        )
    # Below the floor a model is the last resort; above it, weaker is better kept busy, scarce is better kept.
    good = ranking.fast.astype(np.float64)
    return np.asarray(
        2.0 * good - ranking.quality * good - scarcity - (BURDEN_EASY + BURDEN_EASY_TIGHT * tight) * heavy
    )


def _urgency(one: Headroom, now_unix_s: float) -> float:
    if one.total <= 0:
        return 0.0
    used = 1.0 - one.remaining / one.total
    if one.limit not in DAILY:
        return CROWDED * used
    left_of_day = min(1.0, max(0.0, (one.resets_unix_s - now_unix_s) / DAY_S)) if one.resets_unix_s else 1.0
    ahead = used - (1.0 - left_of_day) + SLACK
    return min(1.0, max(0.0, ahead / max(left_of_day, 0.01)))
