"""A list of candidates in the making: groups, aliases, weights and fallbacks expanded, nothing listed twice."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

import numpy as np

from services.selector.live.snapshot import Snapshot
from services.selector.models.deployment_table import Array, Mask, Roster
from services.selector.ranking import rank
from services.selector.ranking.filters import Limits, Needs, Removal, Sieve


class OnlyOn(Enum):
    """When a candidate may be tried."""

    ANY = "any"
    CONTEXT = "context"
    POLICY = "policy"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One deployment that may be tried."""

    index: int
    only_on: OnlyOn
    max_cost_nano_usd: int


class Plan:
    """A selection in the making."""

    def __init__(
        self,
        roster: Roster,
        sieve: Sieve,
        needs: Needs,
        limits: Limits,
        snapshot: Snapshot,
        keys: Array,
        seed: str,
    ) -> None:
        self._roster = roster
        self._sieve = sieve
        self._needs = needs
        self.limits = limits
        self._snapshot = snapshot
        self._keys = keys
        self._seed = seed
        self._listed: dict[int, OnlyOn] = {}
        self.removals: tuple[Removal, ...] = ()

    @property
    def answerable(self) -> bool:
        """Whether anything may be tried at once."""
        return OnlyOn.ANY in self._listed.values()

    def ranked(self, among: Mask | None, most: int = 0) -> list[int]:
        """What passes the filters, best first; raises only when it was looked for among all."""
        sieved = self._sieve.sift(among, self._needs, self.limits, self._snapshot)
        if among is None:
            self.removals = sieved.removals
            if sieved.fault is not None:
                raise sieved.fault()
        most = most or len(self._roster)
        return rank.order(self._roster, self._keys, sieved.mask, self._snapshot, self._seed, most)

    def group(self, among: Mask) -> list[int]:
        """What passes the filters of one model group, in the order that LiteLLM's routing strategy gives it.

        Raises:
            Fault: nothing passes.
        """
        sieved = self._sieve.sift(among, self._needs, self.limits, self._snapshot)
        self.removals = self.removals or sieved.removals
        if sieved.fault is not None:
            raise sieved.fault()
        return self._routed(np.flatnonzero(sieved.mask).tolist())

    def add(self, indices: Iterable[int], only_on: OnlyOn) -> None:
        """List what is not listed yet; what may be tried at once no longer waits for a reason."""
        for index in indices:
            if only_on is OnlyOn.ANY and self._listed.get(index) is not OnlyOn.ANY:
                self._listed.pop(index, None)
            self._listed.setdefault(index, only_on)

    def add_groups(self, models: Iterable[str], only_on: OnlyOn) -> None:
        """List the deployments of some model groups, as far as they pass the filters."""
        roster = self._roster
        for model in models:
            members = roster.groups.get(roster.fleet.aliases.get(model, model), [])
            sieved = self._sieve.sift(roster.among(members), self._needs, self.limits, self._snapshot)
            self.add(self._routed(np.flatnonzero(sieved.mask).tolist()), only_on)

    def candidates(self) -> tuple[Candidate, ...]:
        """The list, with the exact bound of what an attempt may cost."""
        needs, deployments = self._needs, self._roster.deployments
        return tuple(
            Candidate(
                index,
                only_on,
                deployments[index].price.bound(
                    needs.prompt_tokens,
                    needs.output_tokens or deployments[index].longest_answer,
                    needs.choices,
                ),
            )
            for index, only_on in self._listed.items()
        )

    def _routed(self, members: list[int]) -> list[int]:
        roster, snapshot = self._roster, self._snapshot
        if len(members) < 2:
            return members
        strategy = roster.fleet.routing_strategy
        if strategy == "latency-based-routing":
            members = self._drawn(members, snapshot.latency_ms)
        elif strategy == "least-busy":
            members = self._drawn(members, snapshot.in_flight)
        elif strategy == "cost-based-routing":
            members = sorted(members, key=lambda i: roster.input_price[i] + roster.output_price[i])
        elif strategy.startswith("usage-based-routing"):
            members = self._drawn(members, -snapshot.availability)
        else:
            members = self._shuffled(members)
        return sorted(members, key=lambda i: roster.deployments[i].order)

    def _drawn(self, members: list[int], burden: Array) -> list[int]:
        """The better of two first, so that not everybody hurries to the best of the last snapshot; then the best."""
        first = min(self._roster.deployments[i].order for i in members)
        equals = [i for i in members if self._roster.deployments[i].order == first]
        members = sorted(members, key=lambda i: burden[i])
        if len(equals) > 1:
            winner = rank.draw(self._roster, equals, lambda i: float(burden[i]), self._seed)
            members.sort(key=lambda i: i != winner)
        return members

    def _shuffled(self, members: list[int]) -> list[int]:
        """Drawn by weight, else by rpm, else by tpm, else evenly, as LiteLLM's simple-shuffle does."""
        chosen = [self._roster.deployments[i] for i in members]
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
            place = rank.weighted([weight for _, weight in left], rank.fraction(f"{self._seed}/{len(left)}"))
            drawn.append(left.pop(place)[0])
        return drawn
