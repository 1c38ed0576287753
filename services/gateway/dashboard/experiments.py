"""Experiments: what their variants do, what may be concluded, and what ends them; for admins alone."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from services.chassis import errors
from services.gateway.dashboard.formats import NOTHING
from services.gateway.dashboard.paged import ASKED, paged
from services.gateway.dashboard.pages import HOME, Pages, redirect
from services.gateway.experiments.conclusion import GOALS, METRICS, Metric
from services.gateway.experiments.results import ExperimentResults
from services.gateway.experiments.store import CHANGES, ExperimentStore
from services.gateway.keys.audit import AuditTrail

LIST = f"{HOME}/experiments"
# Experiments on one page, and events of one experiment.
EVENTS = 20
STOP_VARIANT = "stop-variant"
# What a variant sets, by the fields of its definition.
# How a variant that leaves something open says so.
UNSET: Sequence[Any] = (None, "", [], {})
SETS = ("model", "strategy", "powerful_share", "tier", "access_groups", "prompt_version", "parameters")


def router(
    pages: Pages,
    store: ExperimentStore,
    results: ExperimentResults,
    audit: AuditTrail,
    admin_route: type[APIRoute],
) -> APIRouter:
    """The list of experiments, the page of one, and what changes its state."""
    routes = APIRouter(prefix=HOME, route_class=admin_route)

    async def experiment_page(
        request: Request, ident: str, *, message: str = "", code: int = 200
    ) -> Response:
        row = await store.get(ident)
        found = None
        try:
            found = await results.of(row)
        except errors.Fault as fault:
            message = message or fault.message
        return await pages.page(
            request,
            "experiment.html",
            code,
            experiment=row,
            found=found,
            metrics=GOALS,
            variants=[_variant(row, one, found) for one in row["definition"]["variants"]],
            events=await audit.newest(f"experiment:{row['experiment_id']}", EVENTS),
            message=message,
        )

    @routes.get("/experiments")
    async def listed(request: Request) -> Response:
        found = await store.find(after=request.query_params.get("after", ""), limit=ASKED)
        rows, last = paged(found)
        return await pages.page(
            request,
            "experiments.html",
            rows=rows,
            following=last["experiment_id"] if last else "",
        )

    @routes.get("/experiments/{experiment_id}")
    async def one(request: Request, experiment_id: str) -> Response:
        return await experiment_page(request, experiment_id)

    @routes.post("/experiments/{experiment_id}/{action}")
    async def change(request: Request, experiment_id: str, action: str) -> Response:
        who, variant = request.state.session.actor, request.state.form.get("variant", "")
        try:
            if action == STOP_VARIANT:
                await store.stop_variant(who, experiment_id, variant, "stopped on the page")
            elif action.replace("-", "_") in CHANGES:
                await store.change(who, experiment_id, action.replace("-", "_"), variant)
            else:
                raise errors.NotFound("an experiment cannot do that")
        except (errors.Invalid, errors.Conflict) as fault:
            return await experiment_page(request, experiment_id, message=fault.message, code=400)
        return redirect(f"{LIST}/{experiment_id}")

    return routes


def _variant(
    row: Mapping[str, Any], described: Mapping[str, Any], found: Mapping[str, Any] | None
) -> dict[str, Any]:
    """A variant with what it sets, why it was stopped, and its numbers as people read them."""
    name = described["name"]
    numbers = next((one for one in found["variants"] if one["name"] == name), None) if found else None
    return {
        "name": name,
        "weight": described.get("weight", 1),
        "sets": ", ".join(
            f"{field}: {described[field]}" for field in SETS if described.get(field) not in UNSET
        ),
        "stopped": row["stopped"].get(name, ""),
        "promoted": row["promoted"] == name,
        "requests": numbers["requests"] if numbers else None,
        "units": numbers["units"] if numbers else None,
        "metrics": {name: _shown(METRICS[name], numbers[name]) if numbers else None for name in GOALS},
    }


def _shown(metric: Metric, numbers: Mapping[str, Any]) -> dict[str, str]:
    """A mean, what it lies in, and how it differs from the control's."""
    return {
        "mean": NOTHING if numbers["mean"] is None else _digits(metric, numbers["mean"]),
        "interval": _range(metric, numbers["interval"]),
        "difference": _range(metric, numbers["difference"]),
    }


def _range(metric: Metric, interval: list[float] | None) -> str:
    return "" if interval is None else " to ".join(_digits(metric, one) for one in interval)


def _digits(metric: Metric, number: float) -> str:
    """Three digits that count, without an exponent."""
    return f"{Decimal(f'{number * metric.scale:.3g}'):f}"
