"""What classifier and selector are asked for: what a request says and needs, and what it may and wishes to have."""

import time

from lumni.chat.v1 import chat_pb2
from lumni.classifier.v1 import classifier_pb2
from lumni.selector.v1 import selector_pb2

from services.chassis import money
from services.gateway.config.plans import AtLimit
from services.gateway.keys.permissions import Caller
from services.gateway.learning.turns import turns
from services.gateway.requests.model_request import CAPS, ModelRequest

TIERS = {"fast": classifier_pb2.TIER_FAST, "powerful": classifier_pb2.TIER_POWERFUL}


def classify_request(
    request: ModelRequest, context: chat_pb2.RequestContext
) -> classifier_pb2.ClassifyRequest:
    """The whole request to the classifier."""
    return classifier_pb2.ClassifyRequest(
        context=context, messages=request.messages, tools=request.tools, output_format=request.output_format
    )


def select_request(
    caller: Caller,
    request: ModelRequest,
    context: chat_pb2.RequestContext,
    classification: classifier_pb2.Classification,
    *,
    what_if: bool = False,
) -> selector_pb2.SelectRequest:
    """The whole request to the selector; `what_if` as in `policy`."""
    asked = selector_pb2.SelectRequest(
        context=context,
        classification=classification,
        requirements=requirements(caller, request),
        policy=policy(caller, request, what_if=what_if),
        model=request.model,
    )
    # The ledger keeps them; the selector has no use for them.
    asked.classification.ClearField("features")
    return asked


def asked(
    request: ModelRequest,
    caller: Caller,
    wanted: selector_pb2.SelectRequest,
    selection: selector_pb2.Selection,
) -> selector_pb2.Asked:
    """What the ledger keeps of a request to the selector and of its answer, so that a replay can ask again.

    Where no selector answered there are no circumstances, and nothing is replayed. They are taken out of the selection:
    they tell of other callers, and nobody else needs them.
    """
    hints = request.hints
    kept = selector_pb2.Asked(
        requirements=wanted.requirements,
        policy=wanted.policy,
        strategy_of_plan=not hints.strategy,
        split_of_plan=hints.threshold is None
        and hints.powerful_share is None
        and caller.powerful_share is None,
        long_context=wanted.classification.long_context,
        price_ids=[one.price_id for one in selection.candidates],
        qualities=[one.quality for one in selection.candidates],
    )
    if selection.HasField("circumstances"):
        kept.circumstances.CopyFrom(selection.circumstances)
        selection.ClearField("circumstances")
    if kept.circumstances.HasField("learning"):
        who = f"{caller.key_id}/{caller.user_id}/"
        turn, previous = turns(
            who, request.messages, assistant=chat_pb2.ROLE_ASSISTANT, user=chat_pb2.ROLE_USER
        )
        if turn is not None:
            kept.turn = turn
        if previous is not None:
            kept.previous_turn = previous
    return kept


def policy(caller: Caller, request: ModelRequest, *, what_if: bool = False) -> selector_pb2.Policy:
    """What the plan and the key permit, and what the request wishes within that.

    Args:
        caller: Who asks.
        request: What for.
        what_if: Whether the request's own weights and time count; the selector learns nothing from such a request.
    """
    plan, hints = caller.plan, request.hints
    wanted = selector_pb2.Policy(
        strategy=hints.strategy or plan.strategy,
        allowed_models=caller.models,
        access_groups=hints.access_groups or plan.access_groups,
        max_cost_nano_usd=round(hints.max_cost_usd * money.NANO),
        provider=hints.provider,
        denied_providers=hints.denied_providers,
        denied_regions=hints.denied_regions,
        tier=TIERS.get(hints.task_type, classifier_pb2.TIER_UNSPECIFIED),
        weights=hints.weights if what_if else {},
        now_unix_ms=int((hints.at or time.time()) * 1000) if what_if else 0,
        free_tail=plan.at_limit is AtLimit.FREE,
        priced_only=caller.has_budget,
    )
    if plan.exploration_share is not None:
        wanted.exploration_share = plan.exploration_share
    share = plan.powerful_share if caller.powerful_share is None else caller.powerful_share
    if hints.powerful_share is not None:
        share = hints.powerful_share
    if hints.threshold is not None:
        wanted.threshold = hints.threshold
    elif share is not None:
        wanted.powerful_share = share
    return wanted


def requirements(caller: Caller, request: ModelRequest) -> selector_pb2.Requirements:
    """What a deployment must be able to do to answer."""
    return selector_pb2.Requirements(
        operation=request.operation,
        prompt_tokens=request.prompt_tokens,
        likely_prompt_tokens=request.window_tokens or request.likely_prompt_tokens,
        output_tokens=request.output_bound(caller.plan.max_output_tokens),
        choices=request.choices,
        vision=request.vision,
        audio=request.audio,
        file=request.file,
        tools=bool(request.tools),
        web_search=request.searches,
        json_schema=request.output_format == classifier_pb2.OUTPUT_FORMAT_JSON_SCHEMA,
        # A picture after another is asked of every model that draws.
        several_choices=request.choices > 1 and request.operation in CAPS,
        logprobs=bool(request.body.get("logprobs")),
        image=request.units.image,
        characters=request.units.characters,
        audio_ms=request.units.audio_ms,
    )
