"""Experiments for admins over gRPC: the same store as the REST routes."""

from collections.abc import Mapping
from typing import Any

import orjson
from google.protobuf.timestamp_pb2 import Timestamp
from lumni.gateway.v1 import experiments_pb2 as pb
from lumni.gateway.v1 import experiments_pb2_grpc

from services.chassis import bounds, errors, json_bounds
from services.chassis.bounds import NAME, Bounds
from services.gateway.experiments import definition
from services.gateway.experiments.results import ExperimentResults
from services.gateway.experiments.rollout import WHOLE
from services.gateway.experiments.store import ExperimentStore
from services.gateway.rpc import admission

LONGEST_PAGE = 1000
LONGEST_REASON = 1000
ONE: Bounds = {"experiment": NAME}
VARIANT: Bounds = {**ONE, "variant": NAME}
PAGE: Bounds = {"after": NAME}
CHANGES = {
    pb.EXPERIMENT_CHANGE_START: "start",
    pb.EXPERIMENT_CHANGE_STOP: "stop",
    pb.EXPERIMENT_CHANGE_PROMOTE: "promote",
    pb.EXPERIMENT_CHANGE_ROLL_BACK: "roll_back",
}


class ExperimentServicer(experiments_pb2_grpc.ExperimentServiceServicer):
    """Unpacks a call, checks its fields, changes the experiment, packs the answer."""

    def __init__(self, store: ExperimentStore, results: ExperimentResults) -> None:
        self._store = store
        self._results = results

    async def CreateExperiment(
        self, request: pb.CreateExperimentRequest, context: object
    ) -> pb.CreateExperimentResponse:
        """POST /admin/experiments."""
        actor = admission.admin()
        text = request.definition_json.encode()
        json_bounds.check(text)
        try:
            given = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise errors.Invalid(
                f"definition_json: expected a JSON object: {error}", param="definition_json"
            ) from error
        row = await self._store.create(actor, definition.parse(given))
        return pb.CreateExperimentResponse(experiment=_experiment(row))

    async def GetExperiment(
        self, request: pb.GetExperimentRequest, context: object
    ) -> pb.GetExperimentResponse:
        """GET /admin/experiments/{experiment}."""
        admission.admin()
        bounds.check(request, ONE)
        return pb.GetExperimentResponse(experiment=_experiment(await self._store.get(request.experiment)))

    async def ListExperiments(
        self, request: pb.ListExperimentsRequest, context: object
    ) -> pb.ListExperimentsResponse:
        """GET /admin/experiments."""
        admission.admin()
        bounds.check(request, PAGE)
        if not 0 <= request.limit <= LONGEST_PAGE:
            raise errors.Invalid(f"limit: expected 1 to {LONGEST_PAGE}", param="limit")
        rows = await self._store.find(after=request.after, limit=request.limit or 100)
        return pb.ListExperimentsResponse(experiments=[_experiment(row) for row in rows])

    async def GetExperimentResults(
        self, request: pb.GetExperimentResultsRequest, context: object
    ) -> pb.GetExperimentResultsResponse:
        """GET /admin/experiments/{experiment}/results."""
        admission.admin()
        bounds.check(request, ONE)
        found = await self._results.of(await self._store.get(request.experiment))
        return pb.GetExperimentResultsResponse(
            winner=found["winner"] or "",
            conclusion=found["conclusion"],
            results_json=orjson.dumps(found).decode(),
        )

    async def ChangeExperiment(
        self, request: pb.ChangeExperimentRequest, context: object
    ) -> pb.ChangeExperimentResponse:
        """POST /admin/experiments/{experiment}/start, stop, promote, roll-back and share."""
        actor = admission.admin()
        bounds.check(request, VARIANT)
        if request.change == pb.EXPERIMENT_CHANGE_SET_SHARE:
            if request.variant:
                raise errors.Invalid("variant: expected with PROMOTE, and with nothing else", param="variant")
            if not 0 <= request.share <= WHOLE:
                raise errors.Invalid(f"share: expected 0 to {WHOLE}", param="share")
            row = await self._store.set_share(actor, request.experiment, request.share)
            return pb.ChangeExperimentResponse(experiment=_experiment(row))
        action = CHANGES.get(request.change)
        if action is None:
            raise errors.Invalid(
                "change: expected START, STOP, PROMOTE, ROLL_BACK or SET_SHARE", param="change"
            )
        if request.share:
            raise errors.Invalid("share: expected with SET_SHARE, and with nothing else", param="share")
        if bool(request.variant) != (action == "promote"):
            raise errors.Invalid("variant: expected with PROMOTE, and with nothing else", param="variant")
        row = await self._store.change(actor, request.experiment, action, request.variant)
        return pb.ChangeExperimentResponse(experiment=_experiment(row))

    async def StopVariant(self, request: pb.StopVariantRequest, context: object) -> pb.StopVariantResponse:
        """POST /admin/experiments/{experiment}/variants/{variant}/stop."""
        actor = admission.admin()
        bounds.check(request, VARIANT)
        if len(request.reason) > LONGEST_REASON:
            raise errors.Invalid(f"reason: expected at most {LONGEST_REASON} characters", param="reason")
        reason = request.reason or f"by {actor}"
        row = await self._store.stop_variant(actor, request.experiment, request.variant, reason)
        return pb.StopVariantResponse(experiment=_experiment(row))

    async def DeleteExperiment(
        self, request: pb.DeleteExperimentRequest, context: object
    ) -> pb.DeleteExperimentResponse:
        """DELETE /admin/experiments/{experiment}."""
        actor = admission.admin()
        bounds.check(request, ONE)
        await self._store.delete(actor, request.experiment)
        return pb.DeleteExperimentResponse()


def _experiment(row: Mapping[str, Any]) -> pb.Experiment:
    shown = pb.Experiment(
        experiment_id=row["experiment_id"],
        name=row["name"],
        definition_json=orjson.dumps(row["definition"]).decode(),
        state=pb.ExperimentState.Value(f"EXPERIMENT_STATE_{row['state'].upper()}"),
        stopped=row["stopped"],
        promoted=row["promoted"],
        rollout_json=orjson.dumps(row["rollout"]).decode() if row["rollout"] else "",
    )
    for name in ("created_at", "started_at", "ended_at"):
        if row[name] is not None:
            stamp: Timestamp = getattr(shown, name)
            stamp.FromDatetime(row[name])
    return shown
