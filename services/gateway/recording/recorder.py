"""The pipeline, with a record of each request that calls a model."""

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import replace
from typing import Any

import orjson
from lumni.executor.v1 import executor_pb2

from services.chassis import errors, telemetry
from services.gateway.keys.permissions import Caller
from services.gateway.pipeline.pipeline import Answer, Pipeline, Stream
from services.gateway.recording.record import Record
from services.gateway.recording.sinks import Sink
from services.gateway.requests.hints import Hints
from services.gateway.requests.model_request import ModelRequest

LEFT = {"reason": "CALLER_LEFT", "message": "the caller left, or the process stopped"}


class RecordingPipeline(Pipeline):
    """Conducts requests, and hands a record of each to all sinks when it is over.

    Args:
        sinks: Take the records; without any nothing is recorded.
        parts: As the pipeline's.
    """

    def __init__(self, sinks: Sequence[Sink], **parts: Any) -> None:
        super().__init__(**parts)
        self._sinks = sinks

    async def complete(self, caller: Caller, request: ModelRequest) -> Answer:
        """As the pipeline."""
        if not self._sinks:
            return await super().complete(caller, request)
        record = self._begun(caller, request, stream=False)
        with self._ending(record):
            answer = await super().complete(caller, request)
            record.add(answer.body)
            record.taken = _taken(answer.report)
            return answer

    async def stream(self, caller: Caller, request: ModelRequest) -> Stream:
        """As the pipeline."""
        if not self._sinks:
            return await super().stream(caller, request)
        record = self._begun(caller, request, stream=True)
        try:
            stream = await super().stream(caller, request)
        except BaseException:
            with self._ending(record):
                raise
        chunks = self._recorded(stream, record)
        # Begun as the pipeline's is, so that closing it always runs its end.
        await anext(chunks)
        return replace(stream, chunks=chunks)

    async def _recorded(self, stream: Stream, record: Record) -> AsyncGenerator[str, None]:
        with self._ending(record):
            try:
                async with aclosing(stream.chunks):
                    yield ""
                    async for chunk in stream.chunks:
                        record.add(chunk)
                        yield chunk
            finally:
                record.taken = _taken(stream.report)

    def _begun(self, caller: Caller, request: ModelRequest, *, stream: bool) -> Record:
        about = {
            "request_id": telemetry.request_id.get(),
            "trace_id": telemetry.trace_id(),
            "operation": request.operation.value,
            "model": request.model,
            "stream": stream,
            "key_id": caller.key_id,
            "user_id": caller.user_id,
            "organization_id": caller.organization_id,
            "plan": caller.plan.name,
        }
        return Record(
            about,
            orjson.dumps(request.body),
            stream=stream,
            may_keep_texts=caller.store_prompts,
            may_evaluate=_may_evaluate(caller, request.hints),
        )

    @contextmanager
    def _ending(self, record: Record) -> Iterator[None]:
        """Hand the record over when the block ends, with what ended it."""
        error = None
        try:
            yield
        except errors.Fault as fault:
            error = {"reason": fault.reason, "message": fault.message}
            raise
        except Exception:
            error = {"reason": errors.Internal.reason, "message": "internal error"}
            raise
        except BaseException:
            # Cancelled, or a generator that is closed before its end.
            error = LEFT
            raise
        finally:
            record.end(error)
            for sink in self._sinks:
                sink.add(record)


def _may_evaluate(caller: Caller, hints: Hints) -> bool:
    """Whether other models may be asked the same; not where key or request say who may read it."""
    chosen = caller.models or hints.provider or hints.denied_providers or hints.denied_regions
    return caller.plan.evaluate_prompts and caller.store_prompts and not chosen


def _taken(report: executor_pb2.Report) -> dict[str, Any]:
    if not report.attempts:
        return {}
    return {
        "answered_by": report.attempts[-1].deployment,
        "attempts": [
            {
                "deployment": one.deployment,
                "error": one.error_class or None,
                "status": one.status_code or None,
            }
            for one in report.attempts
        ],
        "usage": {
            "prompt_tokens": report.usage.prompt_tokens,
            "completion_tokens": report.usage.completion_tokens,
            "cached_tokens": report.usage.cached_tokens,
        },
        "cost_nano_usd": report.cost_nano_usd,
    }
