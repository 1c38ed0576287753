"""An answer on its way into the cache, and out of it again, labelled as one that cost nothing."""

import time
from collections.abc import AsyncGenerator
from typing import Any

from lumni.chat.v1 import chat_pb2
from lumni.events.v1 import events_pb2
from lumni.executor.v1 import executor_pb2
from lumni.selector.v1 import selector_pb2

from services.chassis.money import usd
from services.gateway.cache.response_cache import Found, Hit, Recording
from services.gateway.config.live import Live
from services.gateway.limits.admission import Admission
from services.gateway.pipeline import metadata, render
from services.gateway.pipeline.decision import Decision
from services.gateway.requests.model_request import ModelRequest


def keep(
    recording: Recording,
    decided: Decision,
    admission: Admission,
    bill: executor_pb2.Report,
    last_chunk: str | None = None,
) -> None:
    """Keep the answer whose pieces were recorded, if they are all there and nothing was amiss.

    What was decided without the classifier or the selector is answered anew when they are back, and so is what a
    candidate might have answered that admission took away.
    """
    if not recording.whole or decided.degraded or not _as_selected(decided, admission, bill):
        return
    answer = events_pb2.CachedAnswer(
        request_id=decided.request_id,
        made_unix_ms=decided.context.admitted_unix_ms,
        pieces=recording.pieces,
        last_chunk=last_chunk,
        classification=decided.classification,
        selection=decided.selection,
        report=bill,
    )
    # A repetition teaches nothing.
    answer.classification.ClearField("features")
    recording.keep(answer)


def decision(
    hit: Hit, request: ModelRequest, context: chat_pb2.RequestContext, version: Live[str]
) -> Decision:
    """What was decided when the answer was made, for the request that gets it again.

    That it was made for another question is a part of the reason, which the ledger keeps.
    """
    selection = hit.answer.selection
    if hit.semantic:
        selection = selector_pb2.Selection()
        selection.CopyFrom(hit.answer.selection)
        selection.reason = f"semantic cache: made for {hit.answer.request_id}, where {selection.reason}"
    return Decision(
        began=time.perf_counter(),
        context=context,
        classification=hit.answer.classification,
        selection=selection,
        degraded=[],
        prompt=request.prompt,
        assignment=request.assignment,
        configuration=version.current,
    )


def report(hit: Hit) -> executor_pb2.Report:
    """The bill of an answer from the cache: the tokens that it has, made by nobody now, for nothing."""
    return executor_pb2.Report(usage=hit.answer.report.usage, estimated=hit.answer.report.estimated)


def summary(decided: Decision, hit: Hit) -> dict[str, Any]:
    """The `lumni` object of an answer from the cache."""
    made = executor_pb2.Report(attempts=hit.answer.report.attempts)
    return metadata.summary(decided, made) | {
        "cost": render.cost(executor_pb2.Report()),
        "attempts": [],
        "cache": {
            "result": hit.result,
            "age_s": hit.age_s,
            "saved_usd": usd(hit.answer.report.cost_nano_usd),
            "request_id": hit.answer.request_id,
        },
    }


def headers(decided: Decision, admission: Admission, hit: Hit) -> dict[str, str]:
    """The headers of an answer from the cache; `age` is HTTP's own, in seconds."""
    return {
        **metadata.headers(decided, admission),
        "x-lumni-deployment": winner(hit.answer.report).deployment,
        "x-lumni-cost-usd": f"{0:.9f}",
        "x-lumni-cache": hit.result,
        "age": str(hit.age_s),
    }


def found_headers(found: Found) -> dict[str, str]:
    """The header of an answer that was looked for in the cache and not found."""
    return {"x-lumni-cache": found.result} if found.result else {}


def found_summary(found: Found) -> dict[str, Any]:
    """The same in the `lumni` object."""
    return {"cache": {"result": found.result}} if found.result else {}


async def chunks(request: ModelRequest, decided: Decision, hit: Hit) -> AsyncGenerator[str, None]:
    """The chunks of a stream from the cache, at once."""
    answer = hit.answer
    for piece in answer.pieces:
        yield piece
    last = answer.last_chunk if answer.HasField("last_chunk") else None
    yield metadata.last_chunk(request.operation, last, decided, summary(decided, hit))


def usage(decided: Decision, request: ModelRequest, hit: Hit) -> events_pb2.UsageEvent:
    """What the ledger learns: an attempt that no provider saw, and what that saved."""
    made_by = winner(hit.answer.report)
    return events_pb2.UsageEvent(
        kind=events_pb2.USAGE_KIND_CACHED,
        context=decided.context,
        attempt=executor_pb2.Attempt(
            id=f"{decided.request_id}/1",
            deployment=made_by.deployment,
            model=made_by.model,
            provider=made_by.provider,
            outcome=executor_pb2.OUTCOME_SUCCEEDED,
            started_unix_us=time.time_ns() // 1000,
            duration_ms=(time.perf_counter() - decided.began) * 1000,
        ),
        category=decided.classification.category,
        tier=decided.selection.tier,
        operation=executor_pb2.Operation.Value(f"OPERATION_{request.operation.upper()}"),
        stream=request.stream,
        saved_nano_usd=hit.answer.report.cost_nano_usd,
        cache_result=hit.result,
    )


def winner(bill: executor_pb2.Report) -> executor_pb2.Attempt:
    """The attempt that answered; an empty one where there was none."""
    return bill.attempts[-1] if bill.attempts else executor_pb2.Attempt()


def _as_selected(decided: Decision, admission: Admission, bill: executor_pb2.Report) -> bool:
    """Whether no candidate was missed: the first one answered, or all were admitted."""
    candidates = decided.selection.candidates
    return (
        len(admission.deployments) == len(candidates) or winner(bill).deployment == candidates[0].deployment
    )
