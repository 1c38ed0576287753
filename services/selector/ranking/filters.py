"""What a request may and can use: filters first, in a fixed order, each with a name and an error of its own."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from services.chassis.deployments import MODES
from services.chassis.errors import Exhausted, Fault, Forbidden, Invalid, Unavailable
from services.selector.live.snapshot import Snapshot
from services.selector.models.deployment_table import Indices, Mask, Roster

# Static filters are worked out once for each combination of wishes, and this many are remembered, unless their texts
# are longer than this together.
REMEMBERED = 1024
MOST_TEXT = 4096


@dataclass(frozen=True, slots=True)
class Needs:
    """What a deployment must be able to do."""

    operation: str = "chat"
    # An upper bound of the prompt, and what it will probably be, in tokens.
    prompt_tokens: int = 0
    likely_prompt_tokens: int = 0
    # The cap of one answer, in tokens; 0 when there is none.
    output_tokens: int = 0
    choices: int = 1
    capabilities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """What the plan, the key and the request allow; empty and 0 allow all."""

    allowed_models: tuple[str, ...] = ()
    access_groups: tuple[str, ...] = ()
    provider: str = ""
    denied_providers: tuple[str, ...] = ()
    denied_regions: tuple[str, ...] = ()
    max_cost_nano_usd: int = 0


@dataclass(frozen=True, slots=True)
class Removal:
    """The models that lost their last deployment to one filter."""

    filter: str
    models: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sieved:
    """What the filters left, what they took, and the fault when they left nothing."""

    mask: Mask
    removals: tuple[Removal, ...]
    fault: Callable[[], Fault] | None = None


class Sieve:
    """The filters over one roster."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self._remembered: OrderedDict[tuple[object, ...], Sieved] = OrderedDict()
        self._by_health: tuple[Snapshot | None, Mask] = (None, np.empty(0, dtype=np.bool_))
        self._able = {
            word: roster.mask(lambda d, word=word: word in d.capabilities)  # type: ignore[misc]  # bound at once
            for word in ("vision", "audio", "file", "tools", "json_schema")
        }
        self._modes = {
            operation: roster.mask(lambda d, modes=modes: d.mode in modes)  # type: ignore[misc]  # bound at once
            for operation, modes in MODES.items()
        }

    def sift(self, among: Mask | None, needs: Needs, limits: Limits, snapshot: Snapshot) -> Sieved:
        """Apply every filter to all deployments, or to those `among`."""
        sieved = self._fixed(among, needs, limits)
        if sieved.fault is not None:
            return sieved
        mask, removals = sieved.mask, list(sieved.removals)
        for name, passing, fault in self._dynamic(needs, limits, snapshot):
            left = mask & passing
            count = np.count_nonzero(left)
            if count == np.count_nonzero(mask):
                continue
            removals.append(Removal(name, self._lost(mask, left)))
            if not count:
                return Sieved(left, tuple(removals), partial(fault, mask))
            mask = left
        return Sieved(mask, tuple(removals))

    def usable(self, needs: Needs, limits: Limits) -> Mask:
        """What may and can take such a request, whatever its length and however the deployments fare."""
        return self._fixed(None, needs, limits).mask

    def allowed(self, limits: Limits) -> Mask:
        """What the caller may use, whatever it asks of it and however it fares."""
        mask = np.ones(len(self._roster), dtype=np.bool_)
        for _, passing, _ in self._permissions(limits):
            mask &= passing
        return mask

    def check_permitted(self, among: Mask, limits: Limits) -> None:
        """Refuse when the caller may use none of these.

        Raises:
            Forbidden: naming what forbids the last of them.
        """
        for _, passing, fault in self._permissions(limits):
            among = among & passing
            if not among.any():
                raise fault()

    def _fixed(self, among: Mask | None, needs: Needs, limits: Limits) -> Sieved:
        wishes = (
            b"" if among is None else among.tobytes(),
            needs.operation,
            needs.capabilities,
            limits.allowed_models,
            limits.access_groups,
            limits.provider,
            limits.denied_providers,
            limits.denied_regions,
        )
        found = self._remembered.get(wishes)
        if found is None:
            found = self._sift_fixed(among, needs, limits)
            if _length(limits) <= MOST_TEXT:
                self._remembered[wishes] = found
            if len(self._remembered) > REMEMBERED:
                self._remembered.popitem(last=False)
        return found

    def _sift_fixed(self, among: Mask | None, needs: Needs, limits: Limits) -> Sieved:
        mask = np.ones(len(self._roster), dtype=np.bool_) if among is None else among
        removals: list[Removal] = []
        none = np.zeros(len(self._roster), dtype=np.bool_)
        steps: list[tuple[str, Mask, Callable[[], Fault]]] = [
            (
                "operation",
                self._modes.get(needs.operation, none),
                partial(_incapable, "operation", needs.operation),
            ),
            *self._permissions(limits),
            *((word, self._able[word], partial(_incapable, word, word)) for word in needs.capabilities),
        ]
        for name, passing, fault in steps:
            left = mask & passing
            if not left.any():
                removals.append(Removal(name, self._lost(mask, left)))
                return Sieved(left, tuple(removals), fault)
            if lost := self._lost(mask, left):
                removals.append(Removal(name, lost))
            mask = left
        return Sieved(mask, tuple(removals))

    def _permissions(self, limits: Limits) -> Iterator[tuple[str, Mask, Callable[[], Fault]]]:
        mask = self._roster.mask
        if limits.access_groups:
            groups = frozenset(limits.access_groups)
            yield "access_groups", mask(lambda d: not groups.isdisjoint(d.access_groups)), _forbidden_by_plan
        if limits.allowed_models:
            aliases = self._roster.fleet.aliases
            names = frozenset(aliases.get(name, name) for name in limits.allowed_models)
            yield "allowed_models", mask(lambda d: d.model in names), _forbidden_by_key
        if limits.provider:
            yield (
                "provider",
                mask(lambda d: d.provider == limits.provider),
                partial(_no_provider, limits.provider),
            )
        if limits.denied_providers:
            denied = frozenset(limits.denied_providers)
            yield "denied_providers", mask(lambda d: d.provider not in denied), _all_denied
        if limits.denied_regions:
            regions = frozenset(limits.denied_regions)
            # A region that is not known may be one of the denied ones.
            yield (
                "denied_regions",
                mask(lambda d: bool(d.region) and d.region not in regions),
                _regions_denied,
            )

    def _dynamic(
        self, needs: Needs, limits: Limits, snapshot: Snapshot
    ) -> Iterator[tuple[str, Mask, Callable[[Mask], Fault]]]:
        roster = self._roster
        reserved = np.minimum(roster.max_output, needs.output_tokens) if needs.output_tokens else 0.0
        taken = (needs.likely_prompt_tokens or needs.prompt_tokens) + reserved
        yield "context_length", np.asarray(taken <= roster.context), partial(_too_long, roster, needs)
        if limits.max_cost_nano_usd:
            worst = roster.bounds(needs.prompt_tokens, needs.output_tokens, needs.choices)
            # Rounding up, as the exact bound of the candidates does.
            yield (
                "max_cost",
                np.asarray(np.ceil(worst) <= limits.max_cost_nano_usd),
                partial(_too_dear, worst, limits.max_cost_nano_usd),
            )
        if self._by_health[0] is not snapshot:
            self._by_health = (snapshot, snapshot.callable & snapshot.closed & snapshot.in_quota)
        if not self._by_health[1].all():
            yield "callable", snapshot.callable, _not_callable
            yield "breaker", snapshot.closed, _broken
            yield "quota", snapshot.in_quota, partial(_used_up, snapshot)

    def _lost(self, before: Mask, after: Mask) -> tuple[str, ...]:
        models = self._roster.model_of
        lost: Indices = np.setdiff1d(models[before], models[after])
        return tuple(self._roster.models[number] for number in lost)


def _length(limits: Limits) -> int:
    lists = (limits.allowed_models, limits.access_groups, limits.denied_providers, limits.denied_regions)
    return len(limits.provider) + sum(len(text) for texts in lists for text in texts)


def _incapable(name: str, word: str) -> Fault:
    return Invalid(
        f"model: no model that you may use can do {word}; choose another model or leave it to auto",
        reason="CAPABILITY_MISSING",
        param="model",
        metadata={"filter": name},
    )


def _forbidden_by_plan() -> Fault:
    return _forbidden("the key's plan does not include this model", "access_groups")


def _forbidden_by_key() -> Fault:
    return _forbidden("the key does not allow this model", "allowed_models")


def _no_provider(provider: str) -> Fault:
    return _forbidden(f"provider {provider} serves none of the models that you may use here", "provider")


def _all_denied() -> Fault:
    return _forbidden("every provider that is left is denied", "denied_providers")


def _regions_denied() -> Fault:
    return _forbidden(
        "every deployment that is left lies in a denied region, or nowhere known", "denied_regions"
    )


def _forbidden(message: str, name: str) -> Fault:
    return Forbidden(
        f"model: {message}", reason="MODEL_NOT_ALLOWED", param="model", metadata={"filter": name}
    )


def _too_long(roster: Roster, needs: Needs, left: Mask) -> Fault:
    longest = int(roster.context[left].max())
    return Invalid(
        f"messages: about {needs.likely_prompt_tokens or needs.prompt_tokens} tokens of prompt and up to "
        f"{needs.output_tokens} of answer exceed the longest context window of {longest} tokens; "
        "shorten the prompt or lower max_completion_tokens",
        reason="CONTEXT_LENGTH_EXCEEDED",
        param="messages",
        metadata={"filter": "context_length"},
    )


def _too_dear(worst: np.ndarray[tuple[int, ...], np.dtype[np.float64]], limit: int, left: Mask) -> Fault:
    return Invalid(
        f"max_cost_usd: the cheapest model may cost {worst[left].min() / 1e9:.6f} USD, more than {limit / 1e9:.6f}; "
        "raise it, shorten the prompt or lower max_completion_tokens",
        reason="MAX_COST",
        param="max_cost_usd",
        metadata={"filter": "max_cost"},
    )


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
