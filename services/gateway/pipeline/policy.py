"""What the selector is asked for: what plan and key permit, and what the request needs and wishes within that."""

import time

from lumni.chat.v1 import chat_pb2
from lumni.classifier.v1 import classifier_pb2
from lumni.selector.v1 import selector_pb2

from services.chassis import money
from services.gateway.config.plans import AtLimit
from services.gateway.keys.permissions import Caller
from services.gateway.requests.model_request import CAPS, ModelRequest

TIERS = {"fast": classifier_pb2.TIER_FAST, "powerful": classifier_pb2.TIER_POWERFUL}


def select_request(
    caller: Caller,
    chat: ModelRequest,
    context: chat_pb2.RequestContext,
    classification: classifier_pb2.Classification,
    *,
    what_if: bool = False,
) -> selector_pb2.SelectRequest:
    """The whole request to the selector; `what_if` as in `policy`."""
    request = selector_pb2.SelectRequest(
        context=context,
        classification=classification,
        requirements=requirements(caller, chat),
        policy=policy(caller, chat, what_if=what_if),
        model=chat.model,
    )
    # The ledger keeps them; the selector has no use for them.
    request.classification.ClearField("features")
    return request


def policy(caller: Caller, chat: ModelRequest, *, what_if: bool = False) -> selector_pb2.Policy:
    """What the plan and the key permit, and what the request wishes within that.

    Args:
        caller: Who asks.
        chat: What for.
        what_if: Whether the request's own weights and time count; the selector learns nothing from such a request.
    """
    plan, hints = caller.plan, chat.hints
    wanted = selector_pb2.Policy(
        strategy=hints.strategy or plan.strategy,
        allowed_models=caller.models,
        access_groups=plan.access_groups,
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
    share = plan.powerful_share if caller.powerful_share is None else caller.powerful_share
    if hints.threshold is not None:
        wanted.threshold = hints.threshold
    elif share is not None:
        wanted.powerful_share = share
    return wanted


def requirements(caller: Caller, chat: ModelRequest) -> selector_pb2.Requirements:
    """What a deployment must be able to do to answer."""
    return selector_pb2.Requirements(
        operation=chat.operation,
        prompt_tokens=chat.prompt_tokens,
        likely_prompt_tokens=chat.window_tokens or chat.likely_prompt_tokens,
        output_tokens=chat.output_bound(caller.plan.max_output_tokens),
        choices=chat.choices,
        vision=chat.vision,
        audio=chat.audio,
        file=chat.file,
        tools=bool(chat.tools),
        web_search=chat.searches,
        json_schema=chat.output_format == classifier_pb2.OUTPUT_FORMAT_JSON_SCHEMA,
        # A picture after another is asked of every model that draws.
        several_choices=chat.choices > 1 and chat.operation in CAPS,
        logprobs=bool(chat.body.get("logprobs")),
        image=chat.units.image,
        characters=chat.units.characters,
        audio_ms=chat.units.audio_ms,
    )
