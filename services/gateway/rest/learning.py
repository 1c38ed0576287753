"""Routes for admins: what outcomes have taught, which answers may be judged, and what a judge makes of them."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from services.gateway.keys.authenticator import Authenticator
from services.gateway.learning.judgements import Judgements
from services.gateway.learning.report import LearningReports
from services.gateway.reports.time_range import dated
from services.gateway.rest.admin_route import admin_route
from services.gateway.rest.json_answers import JsonResponse


class Judgement(BaseModel):
    """What a judge makes of one answer."""

    model_config = ConfigDict(extra="forbid")

    request_id: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]*$")]
    judge: Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]*$")]
    share: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


def router(keys: Authenticator, judgements: Judgements, learnt: LearningReports) -> APIRouter:
    """The routes below /admin/learning."""
    routes = APIRouter(prefix="/admin/learning", route_class=admin_route(keys))

    @routes.get("/evidence")
    async def evidence() -> Response:
        return JsonResponse({"object": "learning", **await learnt.report()})

    @routes.get("/judgements/open")
    async def unjudged(
        since: Annotated[AwareDatetime, Query(alias="from")],
        share: Annotated[float, Query(gt=0, le=1)] = 0.05,
    ) -> Response:
        return JsonResponse({"object": "list", "data": await judgements.open(dated("from", since), share)})

    @routes.post("/judgements", status_code=201)
    async def give(given: Judgement) -> Response:
        await judgements.give(given.request_id, given.judge, given.share)
        return JsonResponse({"object": "judgement", **given.model_dump()}, 201)

    return routes
