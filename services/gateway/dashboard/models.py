"""Models and providers: which of them can be called now, how they fare, and what is left of their limits."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from lumni.executor.v1 import executor_pb2
from lumni.selector.v1 import selector_pb2

from services.chassis import errors
from services.chassis.enums import word
from services.gateway.dashboard import charts
from services.gateway.dashboard.pages import HOME, Pages
from services.gateway.dashboard.remembered import Remembered
from services.gateway.peers.clients import Executor, Selector
from services.gateway.pipeline import render

# How long an answer of the executor and the selector is good for, in seconds; the page asks again a little later.
KNOWN_S = 2.0
REFRESH_S = 10


@dataclass(frozen=True, slots=True)
class Fleet:
    """What the other services say of the models; a list is None where the service does not answer."""

    deployments: list[executor_pb2.Deployment] | None
    models: list[selector_pb2.Model] | None


class FleetReports:
    """Asks the executor and the selector."""

    def __init__(self, executor: Executor, selector: Selector) -> None:
        self._executor = executor
        self._selector = selector
        self._fleet: Remembered[Fleet] = Remembered(KNOWN_S)

    async def fleet(self) -> Fleet:
        """What they said at most `KNOWN_S` ago."""
        return await self._fleet.get("fleet", self._ask)

    async def _ask(self) -> Fleet:
        try:
            deployments = await self._executor.deployments()
        except errors.Fault:
            deployments = None
        try:
            models = await self._selector.models(selector_pb2.ListModelsRequest())
        except errors.Fault:
            models = None
        return Fleet(deployments, models)


def router(pages: Pages, reports: FleetReports, session_route: type[APIRoute]) -> APIRouter:
    """The page, and the part of it that is asked for again and again."""
    routes = APIRouter(prefix=HOME, route_class=session_route)

    async def show(request: Request, name: str) -> Response:
        fleet = await reports.fleet()
        deployments = fleet.deployments
        return await pages.page(
            request,
            name,
            deployments=None if deployments is None else [_deployment(one) for one in deployments],
            models=None if fleet.models is None else [render.model(one) for one in fleet.models],
            states=_states(deployments or []),
            refresh_s=REFRESH_S,
        )

    @routes.get("/models")
    async def models(request: Request) -> Response:
        return await show(request, "models.html")

    @routes.get("/models/live")
    async def live(request: Request) -> Response:
        return await show(request, "models_live.html")

    return routes


def _state(one: executor_pb2.Deployment) -> str:
    """How a deployment fares, in a word or two."""
    health = one.health
    if not health.callable:
        return "no key"
    if health.breaker == executor_pb2.BREAKER_STATE_OPEN:
        return "breaker open"
    if health.breaker == executor_pb2.BREAKER_STATE_HALF_OPEN:
        return "probing"
    return "available" if health.available else "failing"


def _states(deployments: Sequence[executor_pb2.Deployment]) -> dict[str, int]:
    """How many deployments fare how."""
    states: dict[str, int] = {}
    for one in deployments:
        states[_state(one)] = states.get(_state(one), 0) + 1
    return states


def _deployment(one: executor_pb2.Deployment) -> dict[str, Any]:
    health = one.health
    now_ms = time.time() * 1000
    return {
        "id": one.id,
        "model": one.model,
        "provider": one.provider,
        "engine": one.engine,
        "state": _state(one),
        "breaker": word(executor_pb2.BreakerState, health.breaker) or "closed",
        "latency_ms": health.latency_ms or None,
        "error_rate": health.error_rate,
        "in_flight": health.in_flight,
        "last_error": health.last_error,
        "headroom": [
            {
                "limit": limit.limit,
                "total": limit.total,
                "remaining": limit.remaining,
                "resets_s": max((limit.resets_unix_ms - now_ms) / 1000, 0) if limit.resets_unix_ms else None,
                "by_provider": limit.by_provider,
                "chart": charts.share(
                    limit.remaining,
                    limit.total,
                    kind="headroom",
                    label=f"{limit.remaining} of {limit.total} left",
                ),
            }
            for limit in health.headroom
        ],
    }
