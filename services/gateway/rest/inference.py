"""Chat completions, the decision alone, and the list of models."""

from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request, Response
from lumni.chat.v1 import chat_pb2
from lumni.selector.v1 import selector_pb2

from services.chassis import eligibility, errors, telemetry
from services.chassis.deployments import Fleet
from services.chassis.eligibility import Policy
from services.gateway.keys.authenticator import Authenticator
from services.gateway.keys.permissions import Caller
from services.gateway.limits.concurrency import ConcurrencyLimiter
from services.gateway.limits.mistakes import Attempt, MistakeLimit
from services.gateway.peers.clients import Selector
from services.gateway.pipeline import render
from services.gateway.pipeline.pipeline import Pipeline
from services.gateway.requests import chat_request
from services.gateway.requests.hints import TASK_TYPES
from services.gateway.rest.inference_route import caller as caller_of
from services.gateway.rest.inference_route import inference_route
from services.gateway.rest.requests import read, unless_caller_leaves
from services.gateway.rest.responses import EventStream, JsonResponse


def router(
    keys: Authenticator,
    limiter: ConcurrencyLimiter,
    pipeline: Pipeline,
    selector: Selector,
    fleet: Fleet,
    mistakes: MistakeLimit,
) -> APIRouter:
    """The routes below /v1 that OpenAI's clients know, and POST /v1/route."""
    routes = APIRouter(prefix="/v1", route_class=inference_route(keys, limiter))

    @routes.post("/chat/completions")
    async def chat_completions(request: Request) -> Response:
        caller = caller_of(request)
        with mistakes.guarding(caller.key_id) as attempt:
            chat = await _chat(request, attempt)
            if chat.stream:
                stream = await unless_caller_leaves(request.receive, pipeline.stream(caller, chat))
                return EventStream(stream.chunks, stream.headers)
            answer = await unless_caller_leaves(request.receive, pipeline.complete(caller, chat))
        return JsonResponse(answer.body, headers=answer.headers)

    @routes.post("/route")
    async def route(request: Request) -> Response:
        caller = caller_of(request)
        with mistakes.guarding(caller.key_id) as attempt:
            chat = await _chat(request, attempt)
            seen_as = keys.as_if(caller, chat.hints.plan)
            decision = await pipeline.route(caller, chat, seen_as=seen_as)
        return JsonResponse(
            {
                "classification": render.classification(decision.classification),
                "selection": render.selection(decision.selection),
                "degraded": decision.degraded,
            }
        )

    @routes.get("/models")
    async def models(request: Request) -> Response:
        caller = caller_of(request)
        auto = {"id": "auto", "object": "model", "created": 0, "owned_by": "lumni"}
        return JsonResponse({"object": "list", "data": [auto, *await _models(selector, fleet, caller)]})

    @routes.get("/models/{name:path}")
    async def model(request: Request, name: str) -> Response:
        caller = caller_of(request)
        found = next((one for one in await _models(selector, fleet, caller) if one["id"] == name), None)
        if found is None:
            raise errors.NotFound(
                f"the model {name[:100]} does not exist, or your plan does not reach it",
                reason="MODEL_NOT_FOUND",
                param="model",
            )
        return JsonResponse(found)

    return routes


async def _chat(request: Request, attempt: Attempt) -> chat_request.Chat:
    """What the body and the headers ask for."""
    body = await read(request)
    attempt.size = len(body)
    chat = chat_request.parse(body)
    if hint := request.headers.get("x-lumni-task-type"):
        if hint not in TASK_TYPES:
            raise errors.Invalid(f"x-lumni-task-type: expected one of {', '.join(TASK_TYPES)}")
        chat = replace(chat, hints=replace(chat.hints, task_type=hint))
    return chat


async def _models(selector: Selector, fleet: Fleet, caller: Caller) -> list[dict[str, Any]]:
    """The models that a caller may use, in OpenAI's shape."""
    request = selector_pb2.ListModelsRequest(
        context=chat_pb2.RequestContext(request_id=telemetry.request_id.get(), plan=caller.plan.name),
        policy=selector_pb2.Policy(allowed_models=caller.models, access_groups=caller.plan.access_groups),
    )
    try:
        models = await selector.models(request)
    except errors.Unavailable:
        # Without the selector the names are still known, just not what is behind them.
        policy = Policy(allowed_models=caller.models, access_groups=caller.plan.access_groups)
        rules = list(eligibility.permissions(policy, fleet.aliases))
        return [
            {"id": name, "object": "model", "created": 0, "owned_by": deployments[0].provider}
            for name, deployments in sorted(fleet.by_model().items())
            if any(all(rule.passes(one) for rule in rules) for one in deployments)
        ]
    # Apps offer what is listed, so what has no key is left out; unless no executor has published its health at all.
    listed = [one for one in models if one.callable] or models
    return [render.model(one) for one in listed]
