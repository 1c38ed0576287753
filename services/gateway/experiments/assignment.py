"""Which variant a request gets, and what becomes of it: a pure function of the request, with nothing remembered.

Who stays with a variant (a user, a key or a conversation) is hashed under a key of the experiment's own, so that the
same one gets the same variant from every gateway and at any time, nobody can choose, and two experiments divide
independently. Of several experiments that a request could take part in, the one that started first takes it.
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import orjson

from services.chassis.operations import Operation
from services.gateway.experiments.definition import OUTPUT_CAP, Definition, Sticky, Variant
from services.gateway.experiments.rollout import WHOLE
from services.gateway.keys.permissions import Caller
from services.gateway.requests import system_text
from services.gateway.requests.assignment import Assignment
from services.gateway.requests.model_request import ModelRequest

# What of a conversation's beginning tells it from others: characters of a message, and messages.
MESSAGE_CHARS = 4096
MOST_MESSAGES = 64
# Of a unit's number: as many as a bigint has above zero.
UNIT_BITS = 63
# The model of an experiment that requests take part in whatever they ask for.
ANY = "*"
# Either caps the answer.
CAPS = ("max_tokens", OUTPUT_CAP)


@dataclass(frozen=True, slots=True)
class Running:
    """An experiment that requests take part in.

    Attributes:
        experiment_id: Its id.
        salt: The key of its hash.
        definition: What it is.
        prompt_id: The id of the prompt that it is about; empty where it is about none.
        stopped: The variants that a guardrail has stopped: their requests are as if there was no experiment.
        promoted: The variant that all requests get; empty while they are divided.
        share: The share of a rollout's variant, in %; None where weights divide requests.

    """

    experiment_id: str
    salt: bytes
    definition: Definition
    prompt_id: str = ""
    stopped: frozenset[str] = frozenset()
    promoted: str = ""
    share: int | None = None

    @property
    def variants(self) -> Sequence[Variant]:
        """The variants with their weights of this moment."""
        if self.share is None:
            return self.definition.variants
        control, variant = self.definition.variants
        return replace(control, weight=WHOLE - self.share), replace(variant, weight=self.share)


def of_request(running: Sequence[Running], caller: Caller, request: ModelRequest) -> ModelRequest:
    """The request as its variant has it; as it is where it takes part in none."""
    for one in running:
        if _takes(one.definition, caller) and _asks_for(one.definition, request):
            assignment, variant = assigned(one, caller, request.body)
            return request if variant is None else changed(request, variant, assignment)
    return request


def of_prompt(
    running: Sequence[Running], caller: Caller, prompt_id: str, body: Mapping[str, Any]
) -> tuple[Assignment, str] | None:
    """The variant of a request for a stored prompt that names no version, and the version that it gets.

    Args:
        running: The experiments.
        caller: Who asks.
        prompt_id: The prompt, which another one may share its name with.
        body: The request beside it, unchecked, with the variables.
    """
    for one in running:
        if one.definition.prompt and one.prompt_id == prompt_id and _takes(one.definition, caller):
            assignment, variant = assigned(one, caller, body)
            return None if variant is None else (assignment, variant.prompt_version)
    return None


def assigned(one: Running, caller: Caller, body: Mapping[str, Any]) -> tuple[Assignment, Variant | None]:
    """The variant of a request that takes part; None where that one was stopped."""
    definition = one.definition
    if one.promoted:
        variant = next(each for each in definition.variants if each.name == one.promoted)
        return Assignment(one.experiment_id, definition.name, variant.name, None), variant
    unit = hashed(one.salt, _unit(definition.sticky, caller, body))
    variant = chosen(one.variants, unit)
    assignment = Assignment(one.experiment_id, definition.name, variant.name, unit)
    return assignment, None if variant.name in one.stopped else variant


def hashed(salt: bytes, unit: str) -> int:
    """A number of `UNIT_BITS`, which only who knows the salt can tell."""
    digest = hashlib.blake2b(unit.encode("utf-8", "replace"), key=salt, digest_size=8)
    return int.from_bytes(digest.digest()) >> 64 - UNIT_BITS


def chosen(variants: Sequence[Variant], unit: int) -> Variant:
    """The variant in whose share of the weights a unit's number lies."""
    point = unit / 2**UNIT_BITS * sum(one.weight for one in variants)
    for one in variants:
        point -= one.weight
        if point < 0:
            return one
    # What is left over by rounding belongs to the last variant that has a share.
    return next(one for one in reversed(variants) if one.weight)


def changed(request: ModelRequest, variant: Variant, assignment: Assignment | None) -> ModelRequest:
    """The request with what its variant sets; without an assignment nothing measures it as one of an experiment."""
    parameters, hints = variant.parameters, request.hints
    if variant.tier or variant.powerful_share is not None:
        # What a request says itself of its tier stands against both.
        hints = replace(hints, task_type=variant.tier or "auto", threshold=None)
    return replace(
        request,
        body={**request.body, **parameters} if parameters else request.body,
        output_tokens=parameters.get(OUTPUT_CAP, request.output_tokens),
        model=variant.model or request.model,
        hints=replace(
            hints,
            strategy=variant.strategy or hints.strategy,
            powerful_share=variant.powerful_share,
            access_groups=variant.access_groups,
        ),
        assignment=assignment,
    )


def leaves_open(request: ModelRequest, names: Collection[str]) -> bool:
    """Whether these parameters can be set: no request sets one itself, and they are those of chat completions."""
    if not names:
        return True
    sets = {*names, *CAPS} if OUTPUT_CAP in names else names
    return request.operation is Operation.CHAT and all(request.body.get(name) is None for name in sets)


def _takes(definition: Definition, caller: Caller) -> bool:
    """Whether a caller takes part: he may use every model that a variant sets, and is no evaluation."""
    if caller.is_evaluation:
        return False
    models = {one.model for one in definition.variants if one.model}
    return (
        definition.organization_id in ("", caller.organization_id)
        and (not definition.plans or caller.plan.name in definition.plans)
        and (not caller.models or models <= set(caller.models))
    )


def _asks_for(definition: Definition, request: ModelRequest) -> bool:
    """Whether a request takes part: it leaves open all that variants set."""
    if (
        definition.prompt
        or request.assignment is not None
        or definition.model not in (ANY, request.model)
        or request.operation not in system_text.CONVERSATIONS
    ):
        return False
    hints, variants = request.hints, definition.variants
    return leaves_open(request, {name for one in variants for name in one.parameters}) and not (
        (hints.strategy and any(one.strategy for one in variants))
        or (
            (hints.threshold is not None or hints.task_type != "auto")
            and any(one.tier or one.powerful_share is not None for one in variants)
        )
    )


def _unit(sticky: Sticky, caller: Caller, body: Mapping[str, Any]) -> str:
    """Who stays with a variant; a key without a user is one."""
    who = caller.key_id if sticky is Sticky.KEY or not caller.user_id else f"user:{caller.user_id}"
    return "\0".join((who, *_beginning(body))) if sticky is Sticky.CONVERSATION else who


def _beginning(body: Mapping[str, Any]) -> Iterator[str]:
    """What a conversation begins with, up to the first that its user says: that stays as it goes on."""
    prompt = body.get("variables")
    if prompt is not None:
        yield orjson.dumps(prompt).decode()[:MESSAGE_CHARS]
    items = body.get("messages", body.get("input"))
    for item in islice(items, MOST_MESSAGES) if isinstance(items, list) else [items]:
        message = item if isinstance(item, Mapping) else {"role": "user", "content": item}
        content = message.get("content")
        for part in islice(content, MOST_MESSAGES) if isinstance(content, list) else [content]:
            text = part.get("text") if isinstance(part, Mapping) else part
            yield text[:MESSAGE_CHARS] if isinstance(text, str) else ""
        if message.get("role") == "user":
            return
