"""Models and providers: which of them can be called now, how they fare, and what is left of their limits."""

import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from lumni.selector.v1 import selector_pb2

from services.chassis import errors
from services.gateway.dashboard import charts
from services.gateway.dashboard.pages import HOME, Pages
from services.gateway.dashboard.remembered import Remembered
from services.gateway.health.deployments import Deployment, State
from services.gateway.health.provider_reports import ProviderReports, Source, View
from services.gateway.peers.clients import Selector
from services.gateway.pipeline import render

# How long an answer of the selector is good for, in seconds; the page asks again a little later.
KNOWN_S = 2.0
REFRESH_S = 10


@dataclass(frozen=True, slots=True)
class Fleet:
    """What is known of deployments and models; `models` is None where the selector does not answer."""

    health: View
    models: list[selector_pb2.Model] | None


class FleetReports:
    """Reads what all executors published of the deployments, and asks the selector for the models."""

    def __init__(self, health: ProviderReports, selector: Selector) -> None:
        self._health = health
        self._selector = selector
        self._models: Remembered[list[selector_pb2.Model] | None] = Remembered(KNOWN_S)

    async def fleet(self) -> Fleet:
        """Both, as they were at most `KNOWN_S` ago."""
        return Fleet(await self._health.latest(), await self.models())

    async def models(self) -> list[selector_pb2.Model] | None:
        """The models; None where the selector does not answer."""
        return await self._models.get("models", self._ask)

    async def _ask(self) -> list[selector_pb2.Model] | None:
        try:
            return await self._selector.models(selector_pb2.ListModelsRequest())
        except errors.Fault:
            return None


def router(pages: Pages, reports: FleetReports, session_route: type[APIRoute]) -> APIRouter:
    """The page, and the part of it that is asked for again and again."""
    routes = APIRouter(prefix=HOME, route_class=session_route)

    async def show(request: Request, name: str) -> Response:
        fleet = await reports.fleet()
        view = fleet.health
        counts = Counter(one.state for one in view.deployments)
        return await pages.page(
            request,
            name,
            deployments=[_deployment(one) for one in view.deployments],
            lost=view.source is Source.MEMORY,
            by_one=view.source is Source.EXECUTOR,
            executors=len(view.replicas),
            models=None if fleet.models is None else [render.model(one) for one in fleet.models],
            states={state.value: counts[state] for state in State if counts[state]},
            refresh_s=REFRESH_S,
        )

    @routes.get("/models")
    async def models(request: Request) -> Response:
        return await show(request, "models.html")

    @routes.get("/models/live")
    async def live(request: Request) -> Response:
        return await show(request, "models_live.html")

    return routes


def _deployment(one: Deployment) -> dict[str, Any]:
    now_ms = time.time() * 1000
    return {
        "id": one.deployment,
        "model": one.model,
        "provider": one.provider,
        "state": one.state.value,
        "breaker": one.breaker.value,
        "latency_ms": one.latency_ms,
        "error_rate": one.error_rate,
        "in_flight": one.in_flight,
        "last_error": one.last_error,
        "rests_s": _left_s(one.rests_until_unix_ms, now_ms),
        "headroom": [
            {
                "limit": limit.limit,
                "total": limit.total,
                "remaining": limit.remaining,
                "resets_s": _left_s(limit.resets_unix_ms, now_ms),
                "chart": charts.share(
                    limit.remaining,
                    limit.total,
                    kind="headroom",
                    label=f"{limit.remaining} of {limit.total} left",
                ),
            }
            for limit in one.headroom
        ],
    }


def _left_s(until_unix_ms: int, now_ms: float) -> float | None:
    """Seconds until a moment; None where there is none."""
    return max((until_unix_ms - now_ms) / 1000, 0) if until_unix_ms else None
