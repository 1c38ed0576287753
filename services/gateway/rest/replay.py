"""The admin route that replays requests of the past by another configuration."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from services.gateway.keys.authenticator import Authenticator
from services.gateway.replays.configuration import Wanted
from services.gateway.replays.replay import Replays
from services.gateway.reports.time_range import time_range
from services.gateway.rest.admin_route import admin_route
from services.gateway.rest.json_answers import JsonResponse

# Characters of a file; the body as a whole is bounded too.
File = Annotated[str, Field(max_length=200_000)]


class Asked(BaseModel):
    """Which requests, and what is to be different."""

    model_config = ConfigDict(extra="forbid")

    since: Annotated[datetime | None, Field(alias="from")] = None
    until: Annotated[datetime | None, Field(alias="to")] = None
    plan: Annotated[str, Field(max_length=256)] = ""
    lumni_yaml: File = ""
    litellm_yaml: File = ""
    prices_yaml: File = ""
    powerful_share: Annotated[float | None, Field(ge=0, le=1)] = None
    classifier_version: Annotated[str, Field(max_length=256)] = ""


def router(keys: Authenticator, replays: Replays) -> APIRouter:
    """The route /admin/replay."""
    routes = APIRouter(prefix="/admin", route_class=admin_route(keys))

    @routes.post("/replay")
    async def replay(asked: Asked) -> Response:
        times = time_range(asked.since, asked.until)
        found = await replays.compare(
            times,
            Wanted(
                lumni_yaml=asked.lumni_yaml,
                litellm_yaml=asked.litellm_yaml,
                prices_yaml=asked.prices_yaml,
                powerful_share=asked.powerful_share,
                classifier_version=asked.classifier_version,
            ),
            asked.plan,
        )
        return JsonResponse({"object": "replay", "from": times.since, "to": times.until, **found.shown()})

    return routes
