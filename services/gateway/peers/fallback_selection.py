"""What to select when the selector cannot be asked: what it said last, else the configured order.

Both go through the selector's filters, as far as the configuration decides them: a caller never reaches a model for
the selector's absence. Only the deployments' health and the catalog's spellings of names are missing.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import TypeAlias

from lumni.chat.v1 import chat_pb2
from lumni.classifier.v1 import classifier_pb2
from lumni.selector.v1 import selector_pb2

from services.chassis import errors
from services.chassis.deployments import MODES, Deployment, Fleet

REMEMBERED = 512
OPEN = ("", "auto", "lumni/auto")
ANY = chat_pb2.ONLY_ON_ANY
# What may be tried, and when.
Listed: TypeAlias = tuple[Deployment, chat_pb2.OnlyOn.ValueType]
# A test, and what to say when nothing passes it.
Filter: TypeAlias = tuple[Callable[[Deployment], bool], errors.Fault]


class Standby:
    """Remembers selections, and makes plain ones from the fleet."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._by_id = fleet.by_id()
        self._by_model = fleet.by_model()
        self._remembered: OrderedDict[bytes, tuple[Listed, ...]] = OrderedDict()

    def remember(self, request: selector_pb2.SelectRequest, selection: selector_pb2.Selection) -> None:
        """Keep a selection for others that ask the same, but none that only asked what would be."""
        if request.policy.now_unix_ms or request.policy.weights:
            return
        key = _key(request)
        # The selector may have read a newer configuration, with deployments that are not known here.
        self._remembered[key] = tuple(
            (self._by_id[candidate.deployment], candidate.only_on)
            for candidate in selection.candidates
            if candidate.deployment in self._by_id
        )
        self._remembered.move_to_end(key)
        if len(self._remembered) > REMEMBERED:
            self._remembered.popitem(last=False)

    def select(self, request: selector_pb2.SelectRequest) -> selector_pb2.Selection:
        """The last selection for the same question as far as it fits this one, or the fleet in its configured order.

        Raises:
            Fault: as `configured`.
        """
        remembered = self._passing(self._remembered.get(_key(request), ()), request)
        if _answerable(remembered):
            return _selection(remembered, request, "the selector is down: as it said last")
        return self.configured(request, "the selector is down: the configured order")

    def configured(self, request: selector_pb2.SelectRequest, reason: str) -> selector_pb2.Selection:
        """What is allowed and can take the request, in the configured order; a pinned model with its fallbacks.

        Raises:
            NotFound: the model is not configured.
            Forbidden: the caller may use nothing of what is asked for.
            Invalid: nothing that is allowed can take the request.
        """
        pinned = request.model not in OPEN
        among = self._called(request.model) if pinned else self._fleet.deployments
        # A pin never leads to another model because this one is forbidden.
        _sift(among, self._permissions(request.policy))
        listed = [(deployment, ANY) for deployment in among]
        if pinned:
            listed += self._fallbacks(among[0].model, free_tail=request.policy.free_tail)
        passing = self._passing(listed, request)
        if not _answerable(passing):
            _sift(among, self._filters(request))
        return _selection(passing, request, reason)

    def _called(self, name: str) -> Sequence[Deployment]:
        """The deployments that a pinned name means: of a group or an alias of one, by id, or as LiteLLM writes it."""
        found = self._by_model.get(self._fleet.aliases.get(name, name)) or [
            one for one in self._fleet.deployments if name in (one.id, f"{one.provider}/{one.litellm_model}")
        ]
        if not found:
            raise errors.NotFound(
                f"model: {name[:100]} is not known", reason="MODEL_NOT_FOUND", param="model"
            )
        return found

    def _fallbacks(self, group: str, *, free_tail: bool) -> Iterator[Listed]:
        fleet = self._fleet
        for table, default, only_on in (
            (fleet.fallbacks, fleet.default_fallbacks, ANY),
            (fleet.context_window_fallbacks, (), chat_pb2.ONLY_ON_CONTEXT),
            (fleet.content_policy_fallbacks, (), chat_pb2.ONLY_ON_POLICY),
        ):
            for model in table.get(group, table.get("*", ())) or default:
                for deployment in self._by_model.get(fleet.aliases.get(model, model), ()):
                    yield deployment, only_on
        for deployment in fleet.deployments if free_tail else ():
            if deployment.free:
                yield deployment, ANY

    def _passing(self, listed: Iterable[Listed], request: selector_pb2.SelectRequest) -> tuple[Listed, ...]:
        filters = self._filters(request)
        found: dict[str, Listed] = {}
        for deployment, only_on in listed:
            if all(passes(deployment) for passes, _ in filters):
                _, known = found.get(deployment.id, (deployment, only_on))
                found[deployment.id] = deployment, ANY if only_on == ANY else known
        return tuple(found.values())

    def _filters(self, request: selector_pb2.SelectRequest) -> list[Filter]:
        return [*self._permissions(request.policy), *_abilities(request.requirements, request.policy)]

    def _permissions(self, policy: selector_pb2.Policy) -> Iterator[Filter]:
        models = {self._fleet.aliases.get(name, name) for name in policy.allowed_models}
        regions = {"", *policy.denied_regions}
        forbidden = errors.Forbidden(
            "model: the key, its plan or the request rules out every model that could be meant",
            reason="MODEL_NOT_ALLOWED",
            param="model",
        )
        yield lambda one: reachable(one, policy.access_groups, models), forbidden
        yield lambda one: policy.provider in ("", one.provider), forbidden
        yield lambda one: one.provider not in policy.denied_providers, forbidden
        # A region that is not known may be one of the denied ones.
        yield lambda one: not policy.denied_regions or one.region not in regions, forbidden


def reachable(deployment: Deployment, groups: Collection[str], models: Collection[str]) -> bool:
    """Whether a plan's access groups and a key's models allow a deployment; empty ones allow all."""
    in_group = not groups or any(group in groups for group in deployment.access_groups)
    return in_group and (not models or deployment.model in models)


def _abilities(needs: selector_pb2.Requirements, policy: selector_pb2.Policy) -> Iterator[Filter]:
    modes = MODES.get(needs.operation or "chat", frozenset())
    words = {word for word in ("vision", "audio", "file", "tools", "json_schema") if getattr(needs, word)}
    yield (
        lambda one: one.mode in modes and words <= one.capabilities,
        errors.Invalid(
            "model: no model that you may use can do what the request needs",
            reason="CAPABILITY_MISSING",
            param="model",
        ),
    )
    prompt = needs.likely_prompt_tokens or needs.prompt_tokens
    yield (
        lambda one: (
            not one.context_window
            or prompt + min(needs.output_tokens, one.max_output_tokens or needs.output_tokens)
            <= one.context_window
        ),
        errors.Invalid(
            "messages: the prompt and its answer exceed the longest context window; shorten the prompt or lower "
            "max_completion_tokens",
            reason="CONTEXT_LENGTH_EXCEEDED",
            param="messages",
        ),
    )
    yield (
        lambda one: not policy.max_cost_nano_usd or _bound(one, needs) <= policy.max_cost_nano_usd,
        errors.Invalid(
            "max_cost_usd: every model may cost more; raise it, shorten the prompt or lower max_completion_tokens",
            reason="MAX_COST",
            param="max_cost_usd",
        ),
    )


def _sift(among: Iterable[Deployment], filters: Iterable[Filter]) -> None:
    """Raise the fault of the filter that removes the last one."""
    for passes, fault in filters:
        among = [one for one in among if passes(one)]
        if not among:
            raise fault


def _bound(deployment: Deployment, needs: selector_pb2.Requirements) -> int:
    return deployment.price.bound(
        needs.prompt_tokens, needs.output_tokens or deployment.longest_answer, needs.choices or 1
    )


def _answerable(listed: Iterable[Listed]) -> bool:
    return any(only_on == ANY for _, only_on in listed)


def _selection(
    listed: Iterable[Listed], request: selector_pb2.SelectRequest, reason: str
) -> selector_pb2.Selection:
    selection = selector_pb2.Selection(tier=request.policy.tier or request.classification.tier, reason=reason)
    for deployment, only_on in listed:
        rates = deployment.price.rates
        selection.candidates.add(
            deployment=deployment.id,
            model=deployment.model,
            provider=deployment.provider,
            only_on=only_on,
            max_cost_nano_usd=_bound(deployment, request.requirements),
            input_nano_usd_per_mtok=rates.input,
            output_nano_usd_per_mtok=rates.output,
        )
    return selection


def _key(request: selector_pb2.SelectRequest) -> bytes:
    """What must be the same: plan, model, category, policy, and needs with numbers rounded up to a power of two."""
    needs = selector_pb2.Requirements()
    needs.CopyFrom(request.requirements)
    for name in ("prompt_tokens", "likely_prompt_tokens", "output_tokens"):
        setattr(needs, name, 1 << getattr(needs, name).bit_length())
    asked = selector_pb2.SelectRequest(
        context=chat_pb2.RequestContext(tenant=request.context.tenant, plan=request.context.plan),
        classification=classifier_pb2.Classification(
            category=request.classification.category, tier=request.classification.tier
        ),
        requirements=needs,
        policy=request.policy,
        model=request.model,
    )
    return blake2b(asked.SerializeToString(deterministic=True), digest_size=16).digest()
