"""Health for load balancers and people, and metrics for Prometheus."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

from fastapi import APIRouter, Request, Response
from prometheus_client import exposition

from services.chassis import measuring
from services.gateway.keys.authenticator import Authenticator
from services.gateway.rest import client_dialects
from services.gateway.rest.draining import Draining
from services.gateway.rest.json_answers import JsonResponse

# How long the answer of a part is good for, in seconds: strangers may ask as often as they like.
REMEMBERED_S = 1.0


class Remembered:
    """A check that is made at most once in `REMEMBERED_S`, for all who ask."""

    def __init__(self, check: Callable[[], Awaitable[bool]]) -> None:
        self._check = check
        self._latest: asyncio.Future[bool] | None = None
        self._ended = 0.0

    async def answers(self) -> bool:
        """Whether the part answered when it was last asked."""
        latest = self._latest
        if latest is None or (latest.done() and time.monotonic() - self._ended > REMEMBERED_S):
            latest = self._latest = asyncio.ensure_future(self._ask())
        # Who leaves does not take the answer away from the others.
        return await asyncio.shield(latest)

    async def _ask(self) -> bool:
        try:
            return await self._check()
        finally:
            self._ended = time.monotonic()


def router(
    keys: Authenticator, health: Mapping[str, Callable[[], Awaitable[bool]]], draining: Draining
) -> APIRouter:
    """The routes /health and /metrics.

    Args:
        keys: Metrics are for the admin.
        health: Whether each part answers now, by its name; the gateway is ready when the `executor` is.
        draining: When it has begun, the gateway is ready no more.
    """
    routes = APIRouter()
    checks = {name: Remembered(answers) for name, answers in health.items()}

    @routes.get("/health/live")
    async def live() -> Response:
        return JsonResponse({"status": "ok"})

    @routes.get("/health/ready")
    async def ready() -> Response:
        if draining.begun:
            return JsonResponse({"status": "draining"}, 503)
        up = await checks["executor"].answers()
        return JsonResponse({"status": "ok" if up else "the executor does not answer"}, 200 if up else 503)

    @routes.get("/health")
    async def all_parts() -> Response:
        found = await asyncio.gather(*(check.answers() for check in checks.values()))
        parts = {name: "ok" if up else "down" for name, up in zip(checks, found, strict=True)}
        return JsonResponse({"status": "ok" if all(found) else "degraded", "parts": parts})

    @routes.get("/metrics")
    async def metrics(request: Request) -> Response:
        await keys.admin(client_dialects.key(request.scope))
        # Prometheus asks for OpenMetrics, which has exemplars.
        encode, media_type = exposition.choose_encoder(request.headers.get("accept", ""))
        return Response(encode(measuring.registry()), media_type=media_type)

    return routes
