"""What an attempt consumed and cost: exact for a whole answer, an upper bound for a broken one."""

from dataclasses import replace

from services.chassis import hosted_tools
from services.chassis.costs import Cost
from services.chassis.operations import BY_UNIT, Operation
from services.chassis.unit_prices import Units
from services.executor.attempts.model import Attempt, AttemptState
from services.executor.engines.base import Call, Engine
from services.executor.engines.outcomes import Failed
from services.executor.engines.usage import Usage
from services.executor.formats.base import ResponseFormat

# Providers whose models reason unasked and show nothing of it in a stream.
HIDES_REASONING = frozenset(("openai", "azure", "gemini", "vertex_ai", "xai"))


def whole(attempt: Attempt, call: Call, engine: Engine, answer: ResponseFormat) -> Attempt:
    """The attempt with the cost of its whole answer; tokens that the provider did not report are counted."""
    if answer.units is not None and (answer.usage is None or not call.deployment.price.by_token):
        return _by_unit(attempt, call, answer, answer.units)
    usage = answer.usage or engine.estimate(call, "".join(answer.texts))
    cost = call.deployment.price.cost(usage, answer.service_tier)
    searched = answer.usage is None and hosted_tools.searches(call.body)
    # Where it may have searched, nothing shows how often.
    at_bound = searched and attempt.max_cost_nano_usd > cost.total
    return replace(
        attempt,
        state=AttemptState.FINAL,
        status_code=200,
        usage=usage,
        estimated=answer.usage is None or answer.estimated,
        cost_nano_usd=attempt.max_cost_nano_usd if at_bound else cost.total,
        cost_parts=None if at_bound else cost,
    )


def broken(attempt: Attempt, call: Call, engine: Engine, answer: ResponseFormat, failed: Failed) -> Attempt:
    """The attempt with what its provider may bill for an answer that is not whole."""
    attempt = replace(attempt, error=failed.error, status_code=failed.status_code, message=failed.message)
    if not answer.begun and not failed.billed:
        return replace(attempt, state=AttemptState.FAILED)
    seen = engine.estimate(call, "".join(answer.texts))
    usage = seen
    if answer.usage is not None:
        # Of a cut stream the last reported count may be old: what we saw is a floor.
        completion = max(answer.usage.completion_tokens, seen.completion_tokens)
        usage = replace(answer.usage, completion_tokens=completion)
    attempt = replace(attempt, state=AttemptState.PARTIAL, usage=usage, estimated=True)
    bound = attempt.max_cost_nano_usd
    if call.stream and answer.begun and _shows_what_is_billed(call, answer):
        cost = call.deployment.price.cost(usage, answer.service_tier)
        return _at_bound(attempt) if 0 < bound < cost.total else _at(attempt, cost)
    # Nothing came, yet the provider may have generated all of it: only the bound is sure.
    return _at_bound(attempt) if bound else _at(attempt, call.deployment.price.cost(usage))


def _by_unit(attempt: Attempt, call: Call, answer: ResponseFormat, units: Units) -> Attempt:
    """The attempt with the cost of pictures, characters or seconds; the bound where those say nothing of it."""
    price = call.deployment.price
    by_second = price.units is not None and price.units.second > 0
    unheard = by_second and not units.audio_ms
    # The length of what was spoken is measured here.
    measured = by_second and call.operation is Operation.AUDIO_SPEECH
    attempt = replace(
        attempt,
        state=AttemptState.FINAL,
        status_code=200,
        usage=answer.usage or Usage(),
        estimated=answer.estimated or measured,
    )
    if (price.units is None or unheard) and price.known and not price.free and attempt.max_cost_nano_usd:
        return replace(_at_bound(attempt), estimated=True)
    return _at(attempt, price.cost(Usage(), answer.service_tier, units))


def _at(attempt: Attempt, cost: Cost) -> Attempt:
    return replace(attempt, cost_nano_usd=cost.total, cost_parts=cost)


def _at_bound(attempt: Attempt) -> Attempt:
    """The attempt at what was reserved for it, of which nobody knows the parts."""
    return replace(attempt, cost_nano_usd=attempt.max_cost_nano_usd)


def _shows_what_is_billed(call: Call, answer: ResponseFormat) -> bool:
    """Whether what came of a stream says what its provider may bill for it."""
    if call.operation in BY_UNIT:
        # Neither a part of a picture nor a piece of sound says what the whole is billed by; only reported tokens do.
        return answer.usage is not None and call.deployment.price.by_token
    return not _may_have_reasoned(call, answer) and not hosted_tools.searches(call.body)


def _may_have_reasoned(call: Call, answer: ResponseFormat) -> bool:
    """Whether the model may have generated, and bill, more than it showed."""
    deployment = call.deployment
    hides = deployment.provider in HIDES_REASONING and "reasoning" in deployment.capabilities
    return hides and answer.usage is None and not answer.reasoned
