"""Apply the rules of eligibility, and then those of health and quotas, to all deployments at once."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from services.chassis import eligibility
from services.chassis.eligibility import CAPABILITIES, Policy, Requirements, Rule
from services.chassis.errors import Exhausted, Fault, Unavailable
from services.chassis.unit_prices import NO_UNITS
from services.selector.live.snapshot import Snapshot
from services.selector.models.deployment_table import DeploymentTable, Mask

# What the static rules leave is kept for this many combinations of requirements and policy, each of texts that are
# together no longer than this, in characters.
REMEMBERED = 1024
MOST_TEXT = 4096


@dataclass(frozen=True, slots=True)
class Removal:
    """The models that lost their last deployment to one filter."""

    filter: str
    models: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Filtered:
    """What the filters left, what they removed, and the fault when they left nothing."""

    mask: Mask
    removals: tuple[Removal, ...]
    fault: Callable[[], Fault] | None = None


class Filters:
    """The filters over one table of deployments."""

    def __init__(self, table: DeploymentTable) -> None:
        self._table = table
        self._remembered: OrderedDict[tuple[object, ...], Filtered] = OrderedDict()
        self._by_health: tuple[Snapshot | None, Mask] = (None, np.empty(0, dtype=np.bool_))
        self._able = {
            rule.name: table.mask(rule.passes)
            for rule in eligibility.abilities(Requirements(capabilities=CAPABILITIES))
        }

    def apply(
        self, among: Mask | None, requirements: Requirements, policy: Policy, snapshot: Snapshot
    ) -> Filtered:
        """Apply every filter to all deployments, or to those `among`."""
        filtered = self._static(among, requirements, policy)
        if filtered.fault is not None:
            return filtered
        mask, removals = filtered.mask, list(filtered.removals)
        for name, passing, fault in self._dynamic(requirements, policy, snapshot):
            left = mask & passing
            count = np.count_nonzero(left)
            if count == np.count_nonzero(mask):
                continue
            removals.append(Removal(name, self._lost(mask, left)))
            if not count:
                return Filtered(left, tuple(removals), partial(fault, mask))
            mask = left
        return Filtered(mask, tuple(removals))

    def usable(self, requirements: Requirements, policy: Policy) -> Mask:
        """What may and can take such a request, whatever its length and the deployments' health."""
        return self._static(None, requirements, policy).mask

    def permitted(self, policy: Policy) -> Mask:
        """What the caller may use, whatever the request and the deployments' health."""
        mask = np.ones(len(self._table), dtype=np.bool_)
        for rule in self._permissions(policy):
            mask &= self._table.mask(rule.passes)
        return mask

    def check_permitted(self, among: Mask, policy: Policy) -> None:
        """Refuse when the caller may use none of these.

        Raises:
            Forbidden: naming the filter that removes the last of them.
        """
        eligibility.apply(self._table.of(among), self._permissions(policy))

    def _permissions(self, policy: Policy) -> Iterator[Rule]:
        return eligibility.permissions(policy, self._table.fleet.aliases)

    def _static(self, among: Mask | None, requirements: Requirements, policy: Policy) -> Filtered:
        key = (
            b"" if among is None else among.tobytes(),
            requirements.operation,
            requirements.capabilities,
            requirements.weights,
            policy.allowed_models,
            policy.access_groups,
            policy.provider,
            policy.denied_providers,
            policy.denied_regions,
            policy.priced_only or bool(policy.max_cost_nano_usd),
        )
        found = self._remembered.get(key)
        if found is None:
            rules = eligibility.static(requirements, policy, self._table.fleet.aliases)
            found = self._apply_static(among, rules)
            if _length(policy) <= MOST_TEXT:
                self._remembered[key] = found
            if len(self._remembered) > REMEMBERED:
                self._remembered.popitem(last=False)
        return found

    def _apply_static(self, among: Mask | None, rules: Iterable[Rule]) -> Filtered:
        table = self._table
        mask = np.ones(len(table), dtype=np.bool_) if among is None else among
        removals: list[Removal] = []
        for rule in rules:
            passing = self._able.get(rule.name)
            left = mask & (table.mask(rule.passes) if passing is None else passing)
            if not left.any():
                removals.append(Removal(rule.name, self._lost(mask, left)))
                return Filtered(left, tuple(removals), partial(rule.fault, table.of(mask)))
            if lost := self._lost(mask, left):
                removals.append(Removal(rule.name, lost))
            mask = left
        return Filtered(mask, tuple(removals))

    def _dynamic(
        self, requirements: Requirements, policy: Policy, snapshot: Snapshot
    ) -> Iterator[tuple[str, Mask, Callable[[Mask], Fault]]]:
        table = self._table
        fits = eligibility.context(requirements)
        yield fits.name, table.mask_by_size(fits.passes), lambda left: fits.fault(table.of(left))
        if limit := policy.max_cost_nano_usd:
            # Rounding up, as the exact bound of the candidates does.
            worst = np.ceil(
                table.bounds(requirements.prompt_tokens, requirements.output_tokens, requirements.choices)
                if not requirements.web_search and requirements.units == NO_UNITS
                else np.array([float(eligibility.bound(one, requirements)) for one in table.deployments])
            )
            yield (
                "max_cost",
                np.asarray(worst <= limit),
                lambda left: eligibility.too_expensive(float(worst[left].min()), limit),
            )
        if self._by_health[0] is not snapshot:
            self._by_health = (snapshot, snapshot.callable & snapshot.closed & snapshot.in_quota)
        if not self._by_health[1].all():
            yield "callable", snapshot.callable, _not_callable
            yield "breaker", snapshot.closed, _broken
            yield "quota", snapshot.in_quota, partial(_used_up, snapshot)

    def _lost(self, before: Mask, after: Mask) -> tuple[str, ...]:
        models = self._table.model_of
        # Sets of a few numbers: NumPy's own cost five times as much.
        lost = {*models[before].tolist()} - {*models[after].tolist()}
        return tuple(self._table.models[number] for number in sorted(lost))


def _length(policy: Policy) -> int:
    lists = (policy.allowed_models, policy.access_groups, policy.denied_providers, policy.denied_regions)
    return len(policy.provider) + sum(len(text) for texts in lists for text in texts)


def _not_callable(_left: Mask) -> Fault:
    return Unavailable(
        "no deployment that is left has the key or address it needs; set them in the executor's environment",
        reason="NO_HEALTHY_DEPLOYMENT",
        retry_after_s=30,
        metadata={"filter": "callable"},
    )


def _broken(_left: Mask) -> Fault:
    return Unavailable(
        "the circuit breakers of all deployments that are left are open",
        reason="NO_HEALTHY_DEPLOYMENT",
        retry_after_s=5,
        metadata={"filter": "breaker"},
    )


def _used_up(snapshot: Snapshot, left: Mask) -> Fault:
    wait = max(1.0, float(snapshot.resets_unix_s[left].min()) - snapshot.taken_unix_s)
    return Exhausted(
        f"the quotas of all deployments that are left are used up; the first is whole again in {wait:.0f} s",
        reason="QUOTA_EXHAUSTED",
        retry_after_s=wait,
        metadata={"filter": "quota", "limit": "quota"},
    )
