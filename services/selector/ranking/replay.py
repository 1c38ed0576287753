"""Selects once more for requests of the past, by a configuration that may be another one, in the order of then.

What a request met is as it was recorded. What follows from the selections themselves is carried on: a powerful share
that differs from the one of then is kept among the requests replayed so far, and a model that is selected more often
than it was has been used more often.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from services.chassis.candidates import UNPINNED
from services.chassis.eligibility import Policy, Requirements
from services.chassis.learning import Mode
from services.selector.live import past_health, recent_usage
from services.selector.live.past_health import State
from services.selector.live.powerful_share import PowerfulShares
from services.selector.live.recent_usage import RecentUsage
from services.selector.models import learned
from services.selector.models.deployment_table import Array
from services.selector.ranking import tier
from services.selector.ranking.exploration import Learned
from services.selector.ranking.select import Preferences, Selection, Selector, Task
from services.selector.ranking.tier import Judged, Split


@dataclass(frozen=True, slots=True)
class Then:
    """What was recorded of a selection: when and how it was divided, what it met, and what came of it."""

    split: Split
    # Whether the request was powerful; None where it had another classification.
    powerful: bool | None
    states: tuple[State, ...]
    recent_shares: Mapping[str, float]
    first_model: str
    # The qualities that learned evidence gave models, where it acted, and the deployment that was explored, if one was.
    learned_qualities: Mapping[str, float]
    explored: str


@dataclass(frozen=True, slots=True)
class Past:
    """One request of the past, as the selector is to be asked for it now."""

    tenant: str
    plan: str
    task: Task
    judged: Judged
    forced: bool | None
    # The policy's own share and threshold, where it has one.
    share: float | None
    threshold: float | None
    requirements: Requirements
    policy: Policy
    preferences: Preferences
    then: Then


class Replay:
    """One pass over the past by one configuration."""

    def __init__(self, selector: Selector) -> None:
        """Select by `selector`."""
        self._selector = selector
        self._options = selector.table.options
        self._shares = PowerfulShares()
        self._was, self._is = (RecentUsage(self._options.recent_window_s, spreads=True) for _ in range(2))

    def select(self, past: Past) -> tuple[bool, Selection]:
        """Whether a request would be powerful, and what would be selected for it; the oldest request comes first.

        Raises:
            Fault: nothing would be, as `Selector.select`.
        """
        now = past.preferences.now_unix_s
        powerful = self._powerful(past, now)
        table = self._selector.table
        try:
            selection = self._selector.select(
                Task(past.task.category, powerful, past.task.long_context, past.task.multilingual),
                past.requirements,
                past.policy,
                past.preferences,
                past_health.restored(table, past.then.states, now),
                recent_usage.wished(self._recent(past, now), spreads=self._options.recent_spreads)[
                    table.model_of
                ],
                self._learned(past),
            )
            self._is.observe(past.tenant, table.deployments[selection.candidates[0].index].model, now)
        finally:
            self._was.observe(past.tenant, past.then.first_model, now)
        return powerful, selection

    def _powerful(self, past: Past, now: float) -> bool:
        judged, plan = past.judged, past.plan
        if judged.version and past.preferences.model in UNPINNED:
            self._shares.observe(plan, judged.version, judged.rate, now)
        split = Split(self._options.powerful_share, self._options.threshold).of_policy(
            share=past.share, threshold=past.threshold
        )
        if past.forced is None and past.then.powerful is not None and split == past.then.split:
            # As it was decided among all requests of then, also those before the first that is replayed.
            return past.then.powerful
        shared = None
        if split.share is not None:
            shared = self._shares.threshold(plan, judged.version, split.share, now)
        powerful, _ = tier.decide(
            judged, past.preferences.seed, forced=past.forced, fixed=split.threshold, share=shared
        )
        return powerful

    def _learned(self, past: Past) -> Learned | None:
        """What outcomes had taught then, and what was explored; None for a configuration that learns nothing."""
        then = past.then
        if self._options.learning.mode is not Mode.ON or not (then.learned_qualities or then.explored):
            return None
        table, task = self._selector.table, past.task
        known = table.ranking(task.category, multilingual=task.multilingual)
        by = learned.restored(table, known, then.learned_qualities)
        return Learned(by, acts=bool(then.learned_qualities), explored=then.explored)

    def _recent(self, past: Past, now: float) -> Array:
        """The shares of each model in the tenant's requests: those of then, but for what is selected otherwise now."""
        table = self._selector.table
        shares = np.array([past.then.recent_shares.get(model, 0.0) for model in table.models])
        was, would_be = (one.shares(past.tenant, table, now) for one in (self._was, self._is))
        if was is None or would_be is None:
            return shares
        # Exactly those of then while all selections are the same.
        return np.clip(shares + (would_be - was), 0.0, 1.0)
