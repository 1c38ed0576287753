"""Builds the list of candidates: groups, aliases, weights and fallbacks expanded, nothing listed twice."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from services.chassis import candidates, eligibility
from services.chassis.candidates import OnlyOn
from services.chassis.draws import fraction, weighted
from services.chassis.eligibility import Policy, Requirements
from services.selector.live.snapshot import Snapshot
from services.selector.models.deployment_table import Array, DeploymentTable, Mask
from services.selector.ranking import rank
from services.selector.ranking.filters import Filters, Removal


@dataclass(frozen=True, slots=True)
class Candidate:
    """One deployment that may be tried."""

    index: int
    only_on: OnlyOn
    max_cost_nano_usd: int


class CandidateList:
    """The candidates of one request, listed in the order of the calls."""

    def __init__(
        self,
        table: DeploymentTable,
        filters: Filters,
        requirements: Requirements,
        policy: Policy,
        snapshot: Snapshot,
        keys: Array,
        seed: str,
        *,
        by_keys: bool,
    ) -> None:
        self._table = table
        self._filters = filters
        self._requirements = requirements
        self._policy = policy
        self._snapshot = snapshot
        self._keys = keys
        self._seed = seed
        self._by_keys = by_keys
        self._listed: dict[int, OnlyOn] = {}
        self.removals: tuple[Removal, ...] = ()

    @property
    def answerable(self) -> bool:
        """Whether anything may be tried without a cause."""
        return OnlyOn.ANY in self._listed.values()

    def ranked(self, among: Mask | None, most: int = 0) -> list[int]:
        """What passes the filters, best first.

        Raises:
            Fault: nothing of all deployments passes; of those `among`, an empty list says so.
        """
        filtered = self._filters.apply(among, self._requirements, self._policy, self._snapshot)
        if among is None:
            self.removals = filtered.removals
            if filtered.fault is not None:
                raise filtered.fault()
        most = most or len(self._table)
        return rank.order(
            self._table,
            self._keys,
            filtered.mask,
            self._snapshot,
            self._seed,
            most,
            by_keys=self._by_keys,
        )

    def group(self, among: Mask) -> list[int]:
        """What passes the filters of one model group, in the order that LiteLLM's routing strategy gives it.

        Raises:
            Fault: nothing passes.
        """
        filtered = self._filters.apply(among, self._requirements, self._policy, self._snapshot)
        self.removals = self.removals or filtered.removals
        if filtered.fault is not None:
            raise filtered.fault()
        return self._routed(np.flatnonzero(filtered.mask).tolist())

    def add(self, indices: Iterable[int], only_on: OnlyOn) -> None:
        """List what is not listed yet."""
        candidates.append(self._listed, indices, only_on)

    def add_groups(self, models: Iterable[tuple[str, OnlyOn]]) -> None:
        """List the deployments of model groups, as far as they pass the filters."""
        table = self._table
        for model, only_on in models:
            among = table.among(table.names.group(model))
            filtered = self._filters.apply(among, self._requirements, self._policy, self._snapshot)
            self.add(self._routed(np.flatnonzero(filtered.mask).tolist()), only_on)

    def candidates(self) -> tuple[Candidate, ...]:
        """The list, with the exact bound of what an attempt may cost."""
        deployments = self._table.deployments
        return tuple(
            Candidate(index, only_on, eligibility.bound(deployments[index], self._requirements))
            for index, only_on in self._listed.items()
        )

    def _routed(self, members: list[int]) -> list[int]:
        table, snapshot = self._table, self._snapshot
        if len(members) < 2:
            return members
        strategy = table.fleet.routing_strategy
        if strategy == "latency-based-routing":
            members = self._drawn(members, snapshot.latency_ms)
        elif strategy == "least-busy":
            members = self._drawn(members, snapshot.in_flight)
        elif strategy == "cost-based-routing":
            members = sorted(members, key=lambda i: table.input_price[i] + table.output_price[i])
        elif strategy.startswith("usage-based-routing"):
            members = self._drawn(members, -snapshot.availability)
        else:
            members = self._shuffled(members)
        return sorted(members, key=lambda i: table.deployments[i].order)

    def _drawn(self, members: list[int], burden: Array) -> list[int]:
        """The better of two first, so that replicas do not all choose the best of the last snapshot; then the best."""
        first = min(self._table.deployments[i].order for i in members)
        equals = [i for i in members if self._table.deployments[i].order == first]
        members = sorted(members, key=lambda i: burden[i])
        if len(equals) > 1:
            winner = rank.draw(self._table, equals, lambda i: float(burden[i]), self._seed)
            members.sort(key=lambda i: i != winner)
        return members

    def _shuffled(self, members: list[int]) -> list[int]:
        """Drawn by weight, else by rpm, else by tpm, else evenly, as LiteLLM's simple-shuffle does."""
        chosen = [self._table.deployments[i] for i in members]
        for weights in (
            [d.weight for d in chosen] if any(d.weight != 1.0 for d in chosen) else [],
            [float(d.rpm) for d in chosen],
            [float(d.tpm) for d in chosen],
        ):
            if any(weights):
                break
        else:
            weights = [1.0] * len(members)
        left, drawn = list(zip(members, weights, strict=True)), []
        while left:
            place = weighted([weight for _, weight in left], fraction(f"{self._seed}/{len(left)}"))
            drawn.append(left.pop(place)[0])
        return drawn
