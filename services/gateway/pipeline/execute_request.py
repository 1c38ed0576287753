"""What the executor is asked for: the body, and the candidates that were admitted for it."""

import time

import orjson
from lumni.executor.v1 import executor_pb2

from services.chassis import offload
from services.gateway.limits.admission import Admission, Limits
from services.gateway.pipeline import added_prompts
from services.gateway.pipeline.decision import Decision
from services.gateway.requests.model_request import ModelRequest


async def made(
    decision: Decision, admission: Admission, request: ModelRequest, limits: Limits, timeout_s: float
) -> executor_pb2.ExecuteRequest:
    """The call of the executor for an admitted request, which has `timeout_s` from when it was begun to be decided.

    What is left of that travels as a duration: no two clocks agree, and any may step. A long body is written beside
    the event loop.
    """
    return await offload.run(request.size, lambda: _made(decision, admission, request, limits, timeout_s))


def _made(
    decision: Decision, admission: Admission, request: ModelRequest, limits: Limits, timeout_s: float
) -> executor_pb2.ExecuteRequest:
    admitted = set(admission.deployments)
    body = added_prompts.added(decision.system_prompts, request, request.capped(admission.output_cap))
    return executor_pb2.ExecuteRequest(
        context=decision.context,
        operation=executor_pb2.Operation.Value(f"OPERATION_{request.operation.upper()}"),
        body_json=orjson.dumps(body).decode(),
        candidates=[
            executor_pb2.Candidate(
                deployment=candidate.deployment,
                only_on=candidate.only_on,
                max_cost_nano_usd=candidate.max_cost_nano_usd,
            )
            for candidate in decision.selection.candidates
            if candidate.deployment in admitted
        ],
        category=decision.classification.category,
        tier=decision.selection.tier,
        max_billed_attempts=limits.billable_attempts,
        likely_prompt_tokens=request.likely_prompt_tokens,
        web_search=request.searches,
        store=bool(request.body.get("store")),
        file=_file(request),
        audio_ms=request.units.audio_ms,
        # 0 would be no timeout.
        timeout_ms=max(1, int((decision.began + timeout_s - time.perf_counter()) * 1000)),
    )


def _file(request: ModelRequest) -> executor_pb2.File | None:
    if (upload := request.upload) is None:
        return None
    return executor_pb2.File(name=upload.name, content_type=upload.content_type, content=upload.content)
