"""GET /admin/requests/{identifier}: everything that is kept of one request, by its id or the id of its trace."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Response

from services.chassis import errors
from services.gateway.keys.authenticator import Authenticator
from services.gateway.recording.text_store import TextStore
from services.gateway.reports.requests import RequestReports, Story
from services.gateway.rest.admin_route import admin_route
from services.gateway.rest.json_answers import JsonResponse

# Longer than either kind of id.
LONGEST = 64
# What only a program of ours can read: protobuf, which /dashboard shows.
PACKED = ("reasons", "asked")


def router(keys: Authenticator, requests: RequestReports, texts: TextStore | None) -> APIRouter:
    """The route; without `texts` no prompts and answers are kept."""
    routes = APIRouter(prefix="/admin/requests", route_class=admin_route(keys))

    @routes.get("/{identifier}")
    async def one(identifier: str) -> Response:
        wanted = identifier[:LONGEST]
        story = await requests.story(await requests.of_trace(wanted) or wanted)
        if story is None:
            raise errors.NotFound(
                f"there is no request or trace {wanted!r}; one that has just ended is written within seconds",
                reason="REQUEST_NOT_FOUND",
            )
        kept = await texts.read(story.request_id) if texts is not None else None
        return JsonResponse({**_shown(story), "texts": kept})

    return routes


def _shown(story: Story) -> dict[str, Any]:
    shown = asdict(story)
    if story.selection is not None:
        shown["selection"] = {name: value for name, value in story.selection.items() if name not in PACKED}
    return {"object": "request", **shown}
