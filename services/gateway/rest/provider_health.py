"""How providers and circuit breakers fare, for admins: who may call nothing else learns nothing of the others' load."""

import time
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Response

from services.gateway.health.deployments import Breaker, Deployment, State
from services.gateway.health.provider_reports import ProviderReports, View
from services.gateway.keys.authenticator import Authenticator
from services.gateway.rest.admin_route import admin_route
from services.gateway.rest.json_answers import JsonResponse


def router(keys: Authenticator, reports: ProviderReports) -> APIRouter:
    """The routes /health/providers and /health/circuit-breakers."""
    routes = APIRouter(prefix="/health", route_class=admin_route(keys))

    @routes.get("/providers")
    async def providers() -> Response:
        view = await reports.latest()
        counts = Counter(one.state for one in view.deployments)
        return JsonResponse(
            {
                **_head(view),
                "counts": {state.value: counts[state] for state in State},
                "data": [_provider(one) for one in view.deployments],
            }
        )

    @routes.get("/circuit-breakers")
    async def circuit_breakers() -> Response:
        view = await reports.latest()
        counts = Counter(one.breaker for one in view.deployments)
        return JsonResponse(
            {
                **_head(view),
                "counts": {state.value: counts[state] for state in Breaker},
                "data": [{**_breaker(one), "replicas": one.replicas} for one in view.deployments],
            }
        )

    return routes


def _head(view: View) -> dict[str, Any]:
    read = view.read_unix_s
    return {
        "object": "list",
        "source": view.source,
        "read_at": datetime.fromtimestamp(read, UTC) if read else None,
        "age_s": round(time.time() - read, 3) if read else None,
        "replicas": view.replicas,
    }


def _breaker(one: Deployment) -> dict[str, Any]:
    return {
        "deployment": one.deployment,
        "model": one.model or None,
        "provider": one.provider or None,
        "breaker": one.breaker,
        "error_rate": None if one.error_rate is None else round(one.error_rate, 4),
        "last_error": one.last_error or None,
        "rests_until": _moment(one.rests_until_unix_ms),
    }


def _provider(one: Deployment) -> dict[str, Any]:
    return {
        **_breaker(one),
        "state": one.state,
        "latency_ms": None if one.latency_ms is None else round(one.latency_ms, 2),
        "in_flight": one.in_flight,
        "headroom": [
            {
                "limit": left.limit,
                "total": left.total,
                "remaining": left.remaining,
                "resets_at": _moment(left.resets_unix_ms),
                "by_provider": left.by_provider,
            }
            for left in one.headroom
        ],
    }


def _moment(unix_ms: int) -> datetime | None:
    return datetime.fromtimestamp(unix_ms / 1000, UTC) if unix_ms else None
