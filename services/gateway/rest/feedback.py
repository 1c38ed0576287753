"""/v1/feedback for callers, in Portkey's shape; GET /admin/learning for the admin."""

from collections.abc import Sequence

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from services.gateway.keys.authenticator import Authenticator
from services.gateway.keys.permissions import Caller
from services.gateway.pipeline.pipeline import Pipeline
from services.gateway.reports.feedback import FeedbackStore
from services.gateway.requests import feedback_request
from services.gateway.requests.feedback_request import Verdict
from services.gateway.rest import client_dialects
from services.gateway.rest.json_answers import JsonResponse
from services.gateway.rest.requests import read_short


def router(keys: Authenticator, feedback: FeedbackStore, pipeline: Pipeline) -> APIRouter:
    """The routes of feedback."""
    routes = APIRouter()

    async def given(caller: Caller, verdicts: Sequence[Verdict]) -> JsonResponse:
        idents = []
        for part, verdict in enumerate(verdicts):
            async with pipeline.without_model(caller, part):
                idents.append(await feedback.give(caller, verdict))
        # What Portkey answers; a verdict is named by the request that it is about.
        return JsonResponse(
            {"status": "success", "message": "Feedback successfully saved", "feedback_ids": idents}
        )

    @routes.post("/v1/feedback")
    async def give(request: Request) -> JsonResponse:
        caller = await keys.caller(client_dialects.key(request.scope))
        verdicts = feedback_request.parse(await read_short(request.receive))
        return await given(caller, verdicts)

    @routes.put("/v1/feedback/{feedback_id}")
    async def change(request: Request, feedback_id: str) -> JsonResponse:
        caller = await keys.caller(client_dialects.key(request.scope))
        text = await read_short(request.receive)
        verdicts = feedback_request.parse(text, request_id=feedback_id)
        return await given(caller, verdicts)

    @routes.get("/admin/learning")
    async def learning(request: Request) -> StreamingResponse:
        await keys.admin(client_dialects.key(request.scope))
        return StreamingResponse(feedback.examples(), media_type="application/x-ndjson")

    return routes
