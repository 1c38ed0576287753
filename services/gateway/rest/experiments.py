"""The admin routes over experiments."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from services.gateway.experiments import definition
from services.gateway.experiments.results import ExperimentResults
from services.gateway.experiments.store import ExperimentStore
from services.gateway.keys.authenticator import Authenticator
from services.gateway.rest.admin_route import Actor, admin_route
from services.gateway.rest.json_answers import JsonResponse

# An experiment by its id or its name.
Experiment = Annotated[str, Path(max_length=128)]
Variant = Annotated[str, Path(max_length=64)]


class Promotion(BaseModel):
    """Which variant all requests get."""

    model_config = ConfigDict(extra="forbid")

    variant: Annotated[str, Field(max_length=64)]


class Stop(BaseModel):
    """Why a variant is stopped."""

    model_config = ConfigDict(extra="forbid")

    reason: Annotated[str, Field(max_length=1000)] = ""


class Share(BaseModel):
    """The share of a rollout's variant, in %."""

    model_config = ConfigDict(extra="forbid")

    share: Annotated[int, Field(ge=0, le=100, strict=True)]


def router(keys: Authenticator, store: ExperimentStore, results: ExperimentResults) -> APIRouter:
    """The routes below /admin/experiments."""
    routes = APIRouter(prefix="/admin/experiments", route_class=admin_route(keys))

    @routes.get("")
    async def find(
        after: str = "",
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        state: Literal["draft", "running", "stopped", "promoted"] | None = None,
    ) -> Response:
        rows = await store.find(after=after, limit=limit, state=state)
        following = rows[-1]["experiment_id"] if len(rows) == limit else None
        return JsonResponse({"object": "list", "data": [_shown(row) for row in rows], "after": following})

    @routes.post("", status_code=201)
    async def create(given: dict[str, JsonValue], who: Actor) -> Response:
        return JsonResponse(_shown(await store.create(who, definition.parse(given))), 201)

    @routes.get("/{experiment}")
    async def get(experiment: Experiment) -> Response:
        return JsonResponse(_shown(await store.get(experiment)))

    @routes.get("/{experiment}/results")
    async def show(experiment: Experiment) -> Response:
        row = await store.get(experiment)
        return JsonResponse({"object": "experiment.results", **_of(row), **await results.of(row)})

    @routes.post("/{experiment}/start")
    async def start(experiment: Experiment, who: Actor) -> Response:
        return JsonResponse(_shown(await store.change(who, experiment, "start")))

    @routes.post("/{experiment}/stop")
    async def stop(experiment: Experiment, who: Actor) -> Response:
        return JsonResponse(_shown(await store.change(who, experiment, "stop")))

    @routes.post("/{experiment}/promote")
    async def promote(experiment: Experiment, fields: Promotion, who: Actor) -> Response:
        return JsonResponse(_shown(await store.change(who, experiment, "promote", fields.variant)))

    @routes.post("/{experiment}/roll-back")
    async def roll_back(experiment: Experiment, who: Actor) -> Response:
        return JsonResponse(_shown(await store.change(who, experiment, "roll_back")))

    @routes.post("/{experiment}/share")
    async def set_share(experiment: Experiment, fields: Share, who: Actor) -> Response:
        return JsonResponse(_shown(await store.set_share(who, experiment, fields.share)))

    @routes.post("/{experiment}/variants/{variant}/stop")
    async def stop_variant(experiment: Experiment, variant: Variant, fields: Stop, who: Actor) -> Response:
        row = await store.stop_variant(who, experiment, variant, fields.reason or f"by {who}")
        return JsonResponse(_shown(row))

    @routes.delete("/{experiment}")
    async def delete(experiment: Experiment, who: Actor) -> Response:
        row = await store.get(experiment)
        await store.delete(who, row["experiment_id"])
        return JsonResponse({"object": "experiment", "experiment_id": row["experiment_id"], "deleted": True})

    return routes


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return {"object": "experiment", **row}


def _of(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("experiment_id", "name", "state", "stopped", "promoted", "rollout")}
