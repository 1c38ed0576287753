"""POST /v1/feedback for callers, GET /admin/learning for the admin."""

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from services.chassis import errors, json_bounds
from services.gateway.keys.authenticator import Authenticator
from services.gateway.pipeline.pipeline import Pipeline
from services.gateway.reports.feedback import FeedbackStore
from services.gateway.requests.hints import NAME
from services.gateway.rest import doors
from services.gateway.rest.json_answers import JsonResponse
from services.gateway.rest.requests import read_short

LARGEST = 10


def router(keys: Authenticator, feedback: FeedbackStore, pipeline: Pipeline) -> APIRouter:
    """The routes of feedback."""
    routes = APIRouter()

    @routes.post("/v1/feedback")
    async def give(request: Request) -> JsonResponse:
        caller = await keys.caller(doors.key(request.scope))
        text = await read_short(request.receive)
        json_bounds.check(text)
        try:
            body = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise errors.Invalid(f"the body is not valid JSON: {error}", reason="INVALID_JSON") from error
        request_id, value = (
            (body.get("request_id"), body.get("value")) if isinstance(body, dict) else (None, None)
        )
        if not isinstance(request_id, str) or not NAME.fullmatch(request_id):
            raise errors.Invalid("request_id: expected the x-request-id of the answer", param="request_id")
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) > LARGEST:
            raise errors.Invalid(
                f"value: expected a whole number from -{LARGEST} to {LARGEST}", param="value"
            )
        async with pipeline.without_model(caller):
            await feedback.give(caller, request_id, value)
        return JsonResponse({"status": "success"})

    @routes.get("/admin/learning")
    async def learning(request: Request) -> StreamingResponse:
        await keys.admin(doors.key(request.scope))
        return StreamingResponse(feedback.examples(), media_type="application/x-ndjson")

    return routes
