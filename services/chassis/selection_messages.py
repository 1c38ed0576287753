"""The contract's requirements, policy and `OnlyOn` as the values that the rules take."""

from collections.abc import Mapping

from lumni.chat.v1 import chat_pb2
from lumni.selector.v1 import selector_pb2

from services.chassis.candidates import OnlyOn
from services.chassis.eligibility import CAPABILITIES, Policy, Requirements
from services.chassis.operations import Operation
from services.chassis.unit_prices import Units

__all__ = ["ONLY_ON", "only_on", "policy", "requirements", "what_if"]

ONLY_ON: Mapping[OnlyOn, chat_pb2.OnlyOn.ValueType] = {
    OnlyOn.ANY: chat_pb2.ONLY_ON_ANY,
    OnlyOn.CONTEXT: chat_pb2.ONLY_ON_CONTEXT,
    OnlyOn.POLICY: chat_pb2.ONLY_ON_POLICY,
}
_UNPACKED = {number: value for value, number in ONLY_ON.items()}


def only_on(number: chat_pb2.OnlyOn.ValueType) -> OnlyOn:
    """When a candidate may be tried; one whose cause is not known counts as usual."""
    return _UNPACKED.get(number, OnlyOn.ANY)


def requirements(message: selector_pb2.Requirements) -> Requirements:
    """What a deployment must be able to do."""
    return Requirements(
        operation=message.operation or "chat",
        prompt_tokens=message.prompt_tokens,
        likely_prompt_tokens=message.likely_prompt_tokens,
        output_tokens=message.output_tokens,
        choices=message.choices or 1,
        capabilities=tuple(word for word in CAPABILITIES if getattr(message, word)),
        web_search=message.web_search,
        units=Units(
            images=message.choices if message.operation == Operation.IMAGE_GENERATION else 0,
            image=message.image,
            characters=message.characters,
            audio_ms=message.audio_ms,
        ),
    )


def policy(message: selector_pb2.Policy) -> Policy:
    """What the plan, the key and the request permit."""
    return Policy(
        allowed_models=tuple(message.allowed_models),
        access_groups=tuple(message.access_groups),
        provider=message.provider,
        denied_providers=tuple(message.denied_providers),
        denied_regions=tuple(message.denied_regions),
        max_cost_nano_usd=message.max_cost_nano_usd,
        priced_only=message.priced_only,
    )


def what_if(message: selector_pb2.Policy) -> bool:
    """Whether a request only asks what would be selected; nothing is learnt from it."""
    return bool(message.now_unix_ms or message.weights)
