"""Decide which deployments may answer a request, and in what order."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from services.chassis.errors import Fault, Invalid, NotFound
from services.selector.live.snapshot import Snapshot
from services.selector.models.catalog import Catalog
from services.selector.models.deployment_table import Array, Mask, Roster, Standing
from services.selector.models.model_names import canonical
from services.selector.models.options import PARTS, STRATEGIES
from services.selector.ranking import free_tier, rank
from services.selector.ranking.candidate_list import Candidate, OnlyOn, Plan
from services.selector.ranking.filters import Limits, Needs, Removal, Sieve

OPEN = ("", "auto", "lumni/auto")


@dataclass(frozen=True, slots=True)
class Task:
    """What is asked, as far as models differ at it."""

    category: str = "other"
    powerful: bool = True
    long_context: bool = False
    multilingual: bool = False


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the caller wants within its limits."""

    strategy: str = ""
    model: str = ""
    free_tail: bool = False
    weights: Mapping[str, float] = field(default_factory=dict, hash=False)
    seed: str = ""
    now_unix_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Selection:
    """A decision with what it rests on."""

    candidates: tuple[Candidate, ...]
    scores: rank.Scores
    standing: Standing
    removals: tuple[Removal, ...]
    strategy: str
    reason: str


class Selector:
    """Decides over one roster."""

    def __init__(self, roster: Roster, catalog: Catalog) -> None:
        self.roster = roster
        self.catalog = catalog
        self._sieve = Sieve(roster)
        # The urgency of free quotas as of one snapshot and second.
        self._held: tuple[Snapshot | None, int, Array] = (None, 0, np.zeros(0))

    def select(
        self,
        task: Task,
        needs: Needs,
        limits: Limits,
        wishes: Wishes,
        snapshot: Snapshot,
        recent: Array | float = 1.0,
    ) -> Selection:
        """List everything that may ever be tried, best first.

        Args:
            task: What is asked.
            needs: What a deployment must be able to do.
            limits: What the caller may use.
            wishes: What it wants within that.
            snapshot: How the deployments fare.
            recent: How little the tenant used each deployment's model of late, 0 to 1.

        Raises:
            NotFound: the pinned model is not known.
            Forbidden: the caller may use none of what is left.
            Invalid: nothing can take the request.
            Unavailable: nothing that could is healthy.
            Exhausted: nothing that could has quota left.
        """
        strategy = wishes.strategy or self.roster.options.default_strategy
        if strategy not in STRATEGIES:
            raise Invalid(
                f"strategy: expected one of {', '.join(STRATEGIES)}",
                reason="STRATEGY_UNKNOWN",
                param="strategy",
            )
        standing = self.roster.standing(
            task.category, long_context=task.long_context, multilingual=task.multilingual
        )
        weights = self._weights(strategy, task, wishes.weights)
        scores = rank.score(self.roster, standing, snapshot, needs, weights, recent)
        if strategy == "free_first":
            usable = self._sieve.usable(needs, limits)
            keys = self._free_first(standing, snapshot, needs, usable, task, wishes.now_unix_s)
        else:
            keys = scores.score + rank.PREFERRED * (standing.powerful if task.powerful else standing.fast)
        # Where nothing else tells two apart, the cheaper one comes first.
        keys = keys + rank.TIE * scores.parts[PARTS.index("cost_efficiency")]
        plan = Plan(self.roster, self._sieve, needs, limits, snapshot, keys, wishes.seed)
        if wishes.model in OPEN:
            self._open(plan)
        else:
            self._pinned(plan, wishes.model)
        if wishes.free_tail:
            plan.add(plan.ranked(self.roster.free), OnlyOn.ANY)
        candidates = plan.candidates()
        return Selection(
            candidates=candidates,
            scores=scores,
            standing=standing,
            removals=plan.removals,
            strategy=strategy,
            reason=self._reason(candidates[0].index, strategy, task, wishes, scores)
            + self._until_free(candidates[0].index, strategy, needs, limits, snapshot),
        )

    def resolve(self, name: str) -> tuple[Mask, str]:
        """The deployments that a pinned name means, and the model group they belong to.

        A name is a group, an alias of one, a deployment's id, `provider/model` as LiteLLM writes it, or a model in
        any spelling that the catalog knows.

        Raises:
            NotFound: it means none.
        """
        roster = self.roster
        target = roster.fleet.aliases.get(name, name)
        if target in roster.groups:
            return roster.among(roster.groups[target]), target
        if (one := roster.index.get(name)) is not None:
            return roster.among([one]), roster.deployments[one].model
        called = roster.by_path.get(name)
        if called is None and (entry := self.catalog.find(name)) is not None:
            called = roster.by_entry.get(entry.id)
        if called is None:
            called = roster.by_spelling.get(canonical(name))
        if called is not None:
            return roster.among(called), roster.deployments[called[0]].model
        raise NotFound(
            f"model: {name} is not configured; GET /v1/models lists what is, and auto leaves the choice to Lumni",
            reason="MODEL_NOT_FOUND",
            param="model",
        )

    def permitted(self, limits: Limits) -> Mask:
        """The deployments that a caller may use, whatever their state."""
        return self._sieve.allowed(limits)

    def _open(self, plan: Plan) -> None:
        listed = plan.ranked(None, self.roster.options.candidates)
        plan.add(listed, OnlyOn.ANY)
        fleet = self.roster.fleet
        for table, only_on in (
            (fleet.context_window_fallbacks, OnlyOn.CONTEXT),
            (fleet.content_policy_fallbacks, OnlyOn.POLICY),
        ):
            if table:
                for model in dict.fromkeys(self.roster.deployments[i].model for i in listed):
                    plan.add_groups(_fallbacks(table, model), only_on)

    def _pinned(self, plan: Plan, name: str) -> None:
        among, group = self.resolve(name)
        fleet = self.roster.fleet
        # A pin never leads to another model because this one is forbidden.
        self._sieve.check_permitted(among, plan.limits)
        refusal: Fault | None = None
        try:
            primary = plan.group(among)
        except Fault as fault:
            refusal, primary = fault, []
        plan.add(primary, OnlyOn.ANY)
        too_long = refusal is not None and refusal.reason == "CONTEXT_LENGTH_EXCEEDED"
        if too_long:
            plan.add_groups(_fallbacks(fleet.context_window_fallbacks, group), OnlyOn.ANY)
        plan.add_groups(_fallbacks(fleet.fallbacks, group) or fleet.default_fallbacks, OnlyOn.ANY)
        plan.add(plan.ranked(self._same_model(among)), OnlyOn.ANY)
        plan.add_groups(_fallbacks(fleet.context_window_fallbacks, group), OnlyOn.CONTEXT)
        plan.add_groups(_fallbacks(fleet.content_policy_fallbacks, group), OnlyOn.POLICY)
        if refusal is not None and not plan.answerable:
            raise refusal

    def _same_model(self, among: Mask) -> Mask:
        roster = self.roster
        ids = {entry.id for i in np.flatnonzero(among) if (entry := roster.entries[i]) is not None}
        return roster.among(i for ident in ids for i in roster.by_entry[ident])

    def _free_first(
        self,
        standing: Standing,
        snapshot: Snapshot,
        needs: Needs,
        usable: Mask,
        task: Task,
        now_unix_s: float,
    ) -> Array:
        """Free deployments by what their quota is worth, then paid ones that will do, the cheapest first."""
        if self._held[0] is not snapshot or self._held[1] != int(now_unix_s):
            self._held = (snapshot, int(now_unix_s), free_tier.urgency(self.roster, snapshot, now_unix_s))
        tokens = (needs.likely_prompt_tokens or needs.prompt_tokens) + min(
            needs.output_tokens or rank.EXPECTED_OUTPUT, rank.EXPECTED_OUTPUT
        )
        free = free_tier.preference(standing, snapshot, self._held[2], usable, tokens, powerful=task.powerful)
        paid = rank.efficiency(self.roster, needs) + rank.PREFERRED * standing.fast
        return np.where(self.roster.free, 10 * rank.PREFERRED + free, paid)

    def _weights(self, strategy: str, task: Task, changed: Mapping[str, float]) -> tuple[float, ...]:
        weights = self.roster.options.weights[strategy, "powerful" if task.powerful else "fast"]
        if not changed:
            return weights
        for name, weight in changed.items():
            if name not in PARTS:
                raise Invalid(f"weights: {name} is none of {', '.join(PARTS)}", param="weights")
            if not (math.isfinite(weight) and weight >= 0):
                raise Invalid(f"weights: {name} must be a number of at least 0", param="weights")
        return tuple(changed.get(name, weight) for name, weight in zip(PARTS, weights, strict=True))

    def _until_free(self, best: int, strategy: str, needs: Needs, limits: Limits, snapshot: Snapshot) -> str:
        """When something is free again, for a caller who wants that and has to pay."""
        if strategy != "free_first" or self.roster.free[best]:
            return ""
        usable = self._sieve.usable(needs, limits)
        waits = snapshot.resets_unix_s[self.roster.free & ~snapshot.in_quota & usable]
        if not waits.size:
            return ""
        return f"; free quota returns in {max(1.0, waits.min() - snapshot.taken_unix_s):.0f} s"

    def _reason(self, best: int, strategy: str, task: Task, wishes: Wishes, scores: rank.Scores) -> str:
        model = self.roster.deployments[best].model
        tier = "powerful" if task.powerful else "fast"
        if wishes.model not in OPEN:
            return f"{model} stands for the pinned {wishes.model}"
        parts = rank.parts_of(scores, best)
        name, _, _ = max(parts, key=lambda part: part[1] * part[2])
        return f"{model} is best for a {tier} {task.category} request by {strategy}, mostly for its {name}"


def _fallbacks(table: Mapping[str, tuple[str, ...]], model: str) -> tuple[str, ...]:
    return table.get(model, table.get("*", ()))
