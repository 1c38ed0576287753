"""Health for load balancers and people, and metrics for Prometheus."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import prometheus_client
from fastapi import APIRouter, Request, Response

from services.gateway.keys.authenticator import Authenticator
from services.gateway.rest.requests import bearer
from services.gateway.rest.responses import JsonResponse


def router(keys: Authenticator, health: Mapping[str, Callable[[], Awaitable[bool]]]) -> APIRouter:
    """The routes /health and /metrics.

    Args:
        keys: Metrics are for the admin.
        health: Whether each part answers now, by its name; the gateway is ready when the `executor` is.
    """
    routes = APIRouter()

    @routes.get("/health/live")
    async def live() -> Response:
        return JsonResponse({"status": "ok"})

    @routes.get("/health/ready")
    async def ready() -> Response:
        up = await health["executor"]()
        return JsonResponse({"status": "ok" if up else "the executor does not answer"}, 200 if up else 503)

    @routes.get("/health")
    async def all_parts() -> Response:
        found = await asyncio.gather(*(answers() for answers in health.values()))
        parts = {name: "ok" if up else "down" for name, up in zip(health, found, strict=True)}
        return JsonResponse({"status": "ok" if all(found) else "degraded", "parts": parts})

    @routes.get("/metrics")
    async def metrics(request: Request) -> Response:
        await keys.admin(bearer(request))
        return Response(prometheus_client.generate_latest(), media_type=prometheus_client.CONTENT_TYPE_LATEST)

    return routes
