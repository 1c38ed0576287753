"""What to select while the selector is down: what it selected last for such a request, else the configured order.

Both pass the rules that the selector applies too (`services.chassis.eligibility`): its absence never opens a model to
a caller. Only the deployments' health and the catalog's spellings of names are missing.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence

from lumni.chat.v1 import chat_pb2
from lumni.selector.v1 import selector_pb2

from services.chassis import candidates, eligibility, selection_messages
from services.chassis.candidates import UNPINNED, Names, OnlyOn
from services.chassis.deployments import Deployment, Fleet
from services.chassis.eligibility import CAPABILITIES, Rule
from services.chassis.errors import Fault, NotFound

REMEMBERED = 512


class FallbackSelection:
    """Remembers the selector's selections, and makes plain ones from the fleet."""

    def __init__(self, fleet: Fleet) -> None:
        self.take(fleet)
        # The id of each candidate and when it may be tried, by the hash of what they were selected for. No message is
        # kept: it would keep the whole batch that it came in.
        self._remembered: OrderedDict[int, list[tuple[str, chat_pb2.OnlyOn.ValueType]]] = OrderedDict()

    def take(self, fleet: Fleet) -> None:
        """Go by another fleet from now on; what of a remembered selection is not in it is left out."""
        self._fleet = fleet
        self._names = Names(fleet)
        self._places = {deployment.id: place for place, deployment in enumerate(fleet.deployments)}

    def remember(self, request: selector_pb2.SelectRequest, selection: selector_pb2.Selection) -> None:
        """Keep a selection for requests like this one, unless it only asked what would be selected, or explored."""
        if selection_messages.what_if(request.policy) or selection.circumstances.learning.explored:
            return
        key = _key(request)
        self._remembered[key] = [(one.deployment, one.only_on) for one in selection.candidates]
        self._remembered.move_to_end(key)
        if len(self._remembered) > REMEMBERED:
            self._remembered.popitem(last=False)

    def select(self, request: selector_pb2.SelectRequest) -> selector_pb2.Selection:
        """The last selection for such a request as far as it fits this one, else the configured order.

        Raises:
            Fault: as `configured`.
        """
        # The selector may have read a newer configuration, with deployments that are not known here.
        remembered = {
            self._places[ident]: selection_messages.only_on(only_on)
            for ident, only_on in self._remembered.get(_key(request), ())
            if ident in self._places
        }
        # The selector knows more spellings of names, and has applied what depends on them.
        passing = self._passing(remembered, self._rules(request, self._names.find(request.model)))
        if OnlyOn.ANY in passing.values():
            return self._selection(passing, request, "the selector is down: as it selected last")
        return self.configured(request, "the selector is down: the configured order")

    def configured(self, request: selector_pb2.SelectRequest, reason: str) -> selector_pb2.Selection:
        """What is permitted and can take the request, in the configured order; a pinned model with its fallbacks.

        Raises:
            NotFound: the pinned model is not configured.
            Forbidden: the caller may use nothing that is left.
            Invalid: nothing that is permitted can take the request.
        """
        fleet, meant = self._fleet, self._meant(request)
        rules = self._rules(request, meant)
        pinned = request.model not in UNPINNED
        if pinned:
            # A pin never leads to another model because this one is forbidden.
            policy = selection_messages.policy(request.policy)
            eligibility.apply(self._at(meant), eligibility.permissions(policy, fleet.aliases))
        refusal: Fault | None = None
        try:
            eligibility.apply(self._at(meant), rules)
        except Fault as fault:
            refusal = fault
        listed = dict.fromkeys(meant, OnlyOn.ANY)
        if pinned:
            too_long = refusal is not None and refusal.reason == "CONTEXT_LENGTH_EXCEEDED"
            for model, only_on in candidates.fallbacks(fleet, self._at(meant)[0].model, too_long=too_long):
                candidates.append(listed, self._names.group(model), only_on)
        if request.policy.free_tail:
            free = (place for place, one in enumerate(fleet.deployments) if one.free)
            candidates.append(listed, free, OnlyOn.ANY)
        passing = self._passing(listed, rules)
        if refusal is not None and OnlyOn.ANY not in passing.values():
            raise refusal
        return self._selection(passing, request, reason)

    def _meant(self, request: selector_pb2.SelectRequest) -> list[int]:
        """The deployments that the request's model means: one by its name, else all."""
        if request.model in UNPINNED:
            return list(range(len(self._fleet.deployments)))
        if not (meant := self._names.find(request.model)):
            raise NotFound(
                f"model: {request.model[:100]} is not known", reason="MODEL_NOT_FOUND", param="model"
            )
        return meant

    def _at(self, places: Iterable[int]) -> list[Deployment]:
        return [self._fleet.deployments[place] for place in places]

    def _rules(self, request: selector_pb2.SelectRequest, meant: Sequence[int]) -> list[Rule]:
        requirements = selection_messages.requirements(request.requirements)
        if request.model not in UNPINNED and meant:
            requirements = eligibility.of_pinned(requirements, self._fleet.deployments[meant[0]])
        policy = selection_messages.policy(request.policy)
        return [
            *eligibility.static(requirements, policy, self._fleet.aliases),
            eligibility.context(requirements),
            *eligibility.cost(requirements, policy),
        ]

    def _passing(self, listed: dict[int, OnlyOn], rules: Iterable[Rule]) -> dict[int, OnlyOn]:
        tests = [rule.passes for rule in rules]
        return {
            place: only_on
            for place, only_on in listed.items()
            if all(passes(self._fleet.deployments[place]) for passes in tests)
        }

    def _selection(
        self, listed: dict[int, OnlyOn], request: selector_pb2.SelectRequest, reason: str
    ) -> selector_pb2.Selection:
        selection = selector_pb2.Selection(
            tier=request.policy.tier or request.classification.tier, reason=reason
        )
        requirements = selection_messages.requirements(request.requirements)
        for place, only_on in listed.items():
            deployment = self._fleet.deployments[place]
            selection.candidates.add(
                deployment=deployment.id,
                model=deployment.model,
                provider=deployment.provider,
                only_on=selection_messages.ONLY_ON[only_on],
                max_cost_nano_usd=eligibility.bound(deployment, requirements),
                input_nano_usd_per_mtok=deployment.price.rates.input,
                output_nano_usd_per_mtok=deployment.price.rates.output,
                unpriced=not deployment.price.known,
            )
        return selection


def _key(request: selector_pb2.SelectRequest) -> int:
    """A hash of what must be the same, with token counts rounded up to a power of two.

    It is computed for every request, so it is cheap rather than perfect: whatever is found under it passes the rules
    of the request that reads it. Serializing the policy is how protobuf reads all of its lists at once: 0.8 us against
    7 us in Python.
    """
    needed, judged = request.requirements, request.classification
    return hash(
        (
            request.model,
            request.context.tenant,
            request.context.plan,
            judged.category,
            judged.tier,
            request.policy.SerializeToString(),
            needed.operation,
            needed.choices,
            needed.prompt_tokens.bit_length(),
            needed.likely_prompt_tokens.bit_length(),
            needed.output_tokens.bit_length(),
            *(getattr(needed, word) for word in CAPABILITIES),
        )
    )
