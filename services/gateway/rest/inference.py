"""The decision alone, and the list of models."""

from typing import Any

import orjson
from lumni.chat.v1 import chat_pb2
from lumni.selector.v1 import selector_pb2

from services.chassis import eligibility, errors, telemetry
from services.chassis.deployments import Fleet
from services.chassis.eligibility import Policy
from services.gateway.config.live import Live
from services.gateway.keys.authenticator import Authenticator
from services.gateway.keys.permissions import Caller
from services.gateway.peers.clients import Selector
from services.gateway.pipeline import render
from services.gateway.pipeline.pipeline import Pipeline
from services.gateway.prompts.expander import RequestExpander
from services.gateway.rest import model_calls
from services.gateway.rest.dispatcher import Route
from services.gateway.rest.exchange import Exchange

# The name that leaves the choice of a model to Lumni.
AUTO = {"id": "auto", "object": "model", "created": render.STARTED, "owned_by": "lumni"}


def routes(
    keys: Authenticator, pipeline: Pipeline, prompts: RequestExpander, selector: Selector, fleet: Live[Fleet]
) -> list[Route]:
    """POST /v1/route, and the models in OpenAI's shape."""

    async def route(exchange: Exchange) -> None:
        chat = await model_calls.read_chat(exchange, prompts.unmeasured())
        seen_as = keys.as_if(exchange.caller, chat.hints.plan)
        decision = await pipeline.route(exchange.caller, chat, seen_as=seen_as)
        shown = {
            "classification": render.classification(decision.classification),
            "selection": render.selection(decision.selection),
            "degraded": decision.degraded,
        }
        await exchange.answer(orjson.dumps(shown))

    async def models(exchange: Exchange) -> None:
        data = [AUTO, *await _models(selector, fleet.current, exchange.caller)]
        await exchange.answer(orjson.dumps({"object": "list", "data": data}))

    async def model(exchange: Exchange) -> None:
        name = exchange.parameters["name"]
        known = [AUTO] if name == AUTO["id"] else await _models(selector, fleet.current, exchange.caller)
        found = next((one for one in known if one["id"] == name), None)
        if found is None:
            raise errors.NotFound(
                f"the model {name[:100]} does not exist, or your plan does not reach it",
                reason="MODEL_NOT_FOUND",
                param="model",
            )
        await exchange.answer(orjson.dumps(found))

    return [
        Route("POST", "/v1/route", route),
        Route("GET", "/v1/models", models),
        Route("GET", "/v1/models/{name:path}", model),
    ]


async def _models(selector: Selector, fleet: Fleet, caller: Caller) -> list[dict[str, Any]]:
    """The models that a caller may use, in OpenAI's shape."""
    request = selector_pb2.ListModelsRequest(
        context=chat_pb2.RequestContext(request_id=telemetry.request_id.get(), plan=caller.plan.name),
        policy=selector_pb2.Policy(
            allowed_models=caller.models,
            access_groups=caller.plan.access_groups,
            priced_only=caller.has_budget,
        ),
    )
    try:
        models = await selector.models(request)
    except errors.Unavailable:
        # Without the selector the names are still known, just not what is behind them.
        policy = Policy(
            allowed_models=caller.models,
            access_groups=caller.plan.access_groups,
            priced_only=caller.has_budget,
        )
        rules = list(eligibility.permissions(policy, fleet.aliases))
        return [
            {"id": name, "object": "model", "created": render.STARTED, "owned_by": deployments[0].provider}
            for name, deployments in sorted(fleet.by_model().items())
            if any(all(rule.passes(one) for rule in rules) for one in deployments)
        ]
    # Apps offer what is listed, so what has no key is left out.
    return [render.model(one) for one in models if one.callable]
