"""Routes for admins: prompts of users that other models may be asked, for `lumni evaluate --traffic`."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import AwareDatetime

from services.gateway.keys.authenticator import Authenticator
from services.gateway.recording.consented_prompts import ConsentedPrompts, Draw
from services.gateway.reports.time_range import time_range
from services.gateway.rest.admin_route import admin_route
from services.gateway.rest.json_answers import JsonResponse

MOST_EACH = 200


def router(keys: Authenticator, prompts: ConsentedPrompts) -> APIRouter:
    """The routes below /admin/evaluation."""
    routes = APIRouter(prefix="/admin/evaluation", route_class=admin_route(keys))

    @routes.get("/prompts")
    async def drawn(
        since: Annotated[AwareDatetime | None, Query(alias="from")] = None,
        until: Annotated[AwareDatetime | None, Query(alias="to")] = None,
        plan: Annotated[str, Query(max_length=256)] = "",
        each: Annotated[int, Query(ge=1, le=MOST_EACH)] = 20,
        seed: Annotated[str, Query(max_length=64)] = "",
    ) -> Response:
        found = await prompts.drawn(Draw(time_range(since, until), each, seed, plan))
        return JsonResponse({"object": "list", **found})

    @routes.get("/prompts/{request_id}")
    async def one(request_id: str) -> Response:
        return JsonResponse({"object": "prompt", "request_id": request_id, **await prompts.read(request_id)})

    return routes
