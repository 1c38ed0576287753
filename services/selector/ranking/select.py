"""Decide which deployments may answer a request, and in what order."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from services.chassis import candidates, eligibility
from services.chassis.candidates import UNPINNED, OnlyOn
from services.chassis.eligibility import Policy, Requirements
from services.chassis.errors import Fault, Invalid, NotFound
from services.chassis.strategies import STRATEGIES
from services.selector.live.snapshot import Snapshot
from services.selector.models.catalog import Catalog
from services.selector.models.deployment_table import Array, CategoryRanking, DeploymentTable, Mask
from services.selector.models.model_names import canonical
from services.selector.models.options import PARTS
from services.selector.ranking import exploration, free_tier, rank
from services.selector.ranking.candidate_list import Candidate, CandidateList
from services.selector.ranking.exploration import Learned, Learning
from services.selector.ranking.filters import Filters, Removal

# The greatest weight of a part: only their shares count.
MOST_WEIGHT = 1_000_000


@dataclass(frozen=True, slots=True)
class Task:
    """The kind of request, as far as models differ at it."""

    category: str = "other"
    powerful: bool = True
    long_context: bool = False
    multilingual: bool = False


@dataclass(frozen=True, slots=True)
class Preferences:
    """What the caller wants within its policy."""

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
    ranking: CategoryRanking
    removals: tuple[Removal, ...]
    strategy: str
    reason: str
    # The group that a pinned name means.
    pinned: str = ""
    # What outcomes can be learnt from; None where nothing is learnt.
    learning: Learning | None = None


class Selector:
    """Selects from one table of deployments."""

    def __init__(self, table: DeploymentTable, catalog: Catalog) -> None:
        self.table = table
        self.catalog = catalog
        self._filters = Filters(table)
        # The urgency of free quotas as of one snapshot and second; replaced whole.
        self._urgency: tuple[Snapshot | None, int, Array] = (None, 0, np.zeros(0))

    def select(
        self,
        task: Task,
        requirements: Requirements,
        policy: Policy,
        preferences: Preferences,
        snapshot: Snapshot,
        recent: Array | float = 1.0,
        learned: Learned | None = None,
    ) -> Selection:
        """List everything that may ever be tried, best first.

        Args:
            task: The kind of request.
            requirements: What a deployment must be able to do.
            policy: What the caller may use.
            preferences: What it wants within that.
            snapshot: The deployments' health and quotas.
            recent: How little the tenant used each deployment's model of late, 0 to 1.
            learned: What outcomes have taught of the models; only for a request that pins none.

        Raises:
            NotFound: the pinned model is not known.
            Forbidden: the caller may use none of what is left.
            Invalid: nothing can take the request.
            Unavailable: nothing that could is healthy.
            Exhausted: nothing that could has quota left.
        """
        strategy = preferences.strategy or self.table.options.default_strategy
        if strategy not in STRATEGIES:
            raise Invalid(
                f"strategy: expected one of {', '.join(STRATEGIES)}",
                reason="STRATEGY_UNKNOWN",
                param="strategy",
            )
        pinned = None if preferences.model in UNPINNED else self.resolve(preferences.model)
        if pinned is not None:
            requirements = eligibility.of_pinned(requirements, self.table.of(pinned[0])[0])
        ranking = self.table.ranking(
            task.category, long_context=task.long_context, multilingual=task.multilingual
        )
        weights = self._weights(strategy, task, preferences.weights)

        def ordered(by: CategoryRanking) -> tuple[rank.Scores, Array]:
            scores = rank.score(self.table, by, snapshot, requirements, weights, recent)
            if strategy == "free_first":
                usable = self._filters.usable(requirements, policy)
                keys = self._free_first(by, snapshot, requirements, usable, task, preferences.now_unix_s)
            else:
                keys = scores.score + rank.PREFERRED * (by.powerful if task.powerful else by.fast)
            # Where two are equal in all else, the cheaper one comes first.
            return scores, keys + rank.TIE * scores.parts[PARTS.index("cost_efficiency")]

        scores, keys = ordered(ranking)
        others = keys
        if learned is not None and learned.by.ranking is not ranking:
            scores_learned, keys_learned = ordered(learned.by.ranking)
            if learned.acts:
                ranking, scores, keys = learned.by.ranking, scores_learned, keys_learned
            else:
                others = keys_learned
        listed = CandidateList(
            self.table,
            self._filters,
            requirements,
            policy,
            snapshot,
            keys,
            preferences.seed,
            # The fourth of equal free deployments comes before what costs, too.
            by_keys=strategy == "free_first",
        )
        if pinned is None:
            self._list_open(listed)
        else:
            self._list_pinned(listed, *pinned, policy)
        if preferences.free_tail:
            listed.add(listed.ranked(self.table.free), OnlyOn.ANY)
        found = listed.candidates()
        learning = None
        if learned is not None:
            learning = exploration.choose(
                self.table,
                learned,
                [one.index for one in found if one.only_on is OnlyOn.ANY],
                scores,
                others,
                requirements,
                preferences.seed,
                powerful=task.powerful,
            )
            found = tuple(sorted(found, key=lambda one: one.index != learning.chosen.index))
        best = found[0].index
        return Selection(
            candidates=found,
            scores=scores,
            ranking=ranking,
            removals=listed.removals,
            strategy=strategy,
            reason=self._reason(best, strategy, task, preferences, scores, learned, learning)
            + self._until_free(best, strategy, requirements, policy, snapshot),
            pinned=pinned[1] if pinned else "",
            learning=learning,
        )

    def resolve(self, name: str) -> tuple[Mask, str]:
        """The deployments that a pinned name means, and the model group they belong to.

        A name is a group, an alias of one, a deployment's id, `provider/model` as LiteLLM writes it, or a model in
        any spelling that the catalog knows.

        Raises:
            NotFound: it means none.
        """
        table = self.table
        meant = table.names.find(name)
        if not meant and (entry := self.catalog.find(name)) is not None:
            meant = table.by_entry.get(entry.id, [])
        if meant := meant or table.by_spelling.get(canonical(name), []):
            return table.among(meant), table.deployments[meant[0]].model
        raise NotFound(
            f"model: {name} is not configured; GET /v1/models lists what is, and auto leaves the choice to Lumni",
            reason="MODEL_NOT_FOUND",
            param="model",
        )

    def permitted(self, policy: Policy) -> Mask:
        """The deployments that a caller may use, whatever their state."""
        return self._filters.permitted(policy)

    def _list_open(self, listed: CandidateList) -> None:
        best = listed.ranked(None, self.table.options.candidates)
        listed.add(best, OnlyOn.ANY)
        for model in dict.fromkeys(self.table.deployments[i].model for i in best):
            listed.add_groups(candidates.other_causes(self.table.fleet, model))

    def _list_pinned(self, listed: CandidateList, among: Mask, group: str, policy: Policy) -> None:
        # A pin never leads to another model because this one is forbidden.
        self._filters.check_permitted(among, policy)
        refusal: Fault | None = None
        try:
            listed.add(listed.group(among), OnlyOn.ANY)
        except Fault as fault:
            refusal = fault
        too_long = refusal is not None and refusal.reason == "CONTEXT_LENGTH_EXCEEDED"
        listed.add_groups(candidates.fallbacks(self.table.fleet, group, too_long=too_long))
        if refusal is not None and not listed.answerable:
            raise refusal

    def _free_first(
        self,
        ranking: CategoryRanking,
        snapshot: Snapshot,
        requirements: Requirements,
        usable: Mask,
        task: Task,
        now_unix_s: float,
    ) -> Array:
        """Free deployments by what their quota is worth, then paid ones that will do, the cheapest first."""
        known_of, second, urgency = self._urgency
        if known_of is not snapshot or second != int(now_unix_s):
            urgency = free_tier.urgency(self.table, snapshot, now_unix_s)
            self._urgency = (snapshot, int(now_unix_s), urgency)
        tokens = requirements.expected_prompt_tokens + min(
            requirements.output_tokens or rank.EXPECTED_OUTPUT, rank.EXPECTED_OUTPUT
        )
        free = free_tier.preference(ranking, snapshot, urgency, usable, tokens, powerful=task.powerful)
        paid = rank.efficiency(self.table, requirements) + rank.PREFERRED * ranking.fast
        # A long request on a quota that is almost spent lowers the preference without a bound, so no fixed distance
        # would keep the worst free deployment above the best paid one.
        return np.where(self.table.free, free - free.min() + paid.max() + rank.PREFERRED, paid)

    def _weights(self, strategy: str, task: Task, changed: Mapping[str, float]) -> tuple[float, ...]:
        weights = self.table.options.weights[strategy, "powerful" if task.powerful else "fast"]
        if not changed:
            return weights
        for name, weight in changed.items():
            if name not in PARTS:
                raise Invalid(f"weights: expected some of {', '.join(PARTS)}", param="weights")
            # Put so that NaN is refused as well.
            if not 0 <= weight <= MOST_WEIGHT:
                raise Invalid(f"weights: {name}: expected a number from 0 to {MOST_WEIGHT}", param="weights")
        return tuple(changed.get(name, weight) for name, weight in zip(PARTS, weights, strict=True))

    def _until_free(
        self, best: int, strategy: str, requirements: Requirements, policy: Policy, snapshot: Snapshot
    ) -> str:
        """When free quota returns, for a caller who prefers it and has to pay."""
        if strategy != "free_first" or self.table.free[best]:
            return ""
        usable = self._filters.usable(requirements, policy)
        waits = snapshot.resets_unix_s[self.table.free & ~snapshot.in_quota & usable]
        if not waits.size:
            return ""
        return f"; free quota returns in {max(1.0, waits.min() - snapshot.taken_unix_s):.0f} s"

    def _reason(
        self,
        best: int,
        strategy: str,
        task: Task,
        preferences: Preferences,
        scores: rank.Scores,
        learned: Learned | None,
        learning: Learning | None,
    ) -> str:
        model = self.table.deployments[best].model
        tier = "powerful" if task.powerful else "fast"
        if preferences.model not in UNPINNED:
            return f"{model} stands for the pinned {preferences.model}"
        if learning is not None and learning.explored:
            return f"{model} is tried for a {tier} {task.category} request to learn how its answers are liked"
        parts = rank.parts_of(scores, best)
        name, _, _ = max(parts, key=lambda part: part[1] * part[2])
        liked = learned.by.outcomes.get(model) if learned is not None and learned.acts else None
        measured = "" if task.long_context else self._measured(best, task.category)
        known = "; ".join(str(one) for one in (liked, measured) if one)
        return (
            f"{model} is best for a {tier} {task.category} request by {strategy}, mostly for its {name}"
            + (f" ({known})" if known else "")
        )

    def _measured(self, best: int, category: str) -> str:
        """What of a model's quality was measured here."""
        scores = self.table.measured[best]
        if category in scores:
            return str(scores[category])
        return f"measured here at other tasks, n = {sum(one.n for one in scores.values())}" if scores else ""
