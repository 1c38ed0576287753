"""The pipeline, with a record of each request that calls a model."""

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import replace
from typing import Any
from weakref import WeakValueDictionary

import orjson
from lumni.executor.v1 import executor_pb2

from services.chassis import errors, telemetry
from services.gateway.keys.permissions import Caller
from services.gateway.pipeline.decision import Decision
from services.gateway.pipeline.pipeline import Answer, Pipeline, Stream
from services.gateway.recording.record import Record
from services.gateway.recording.settings import Sink
from services.gateway.requests.model_request import ModelRequest

LEFT = {"reason": "CALLER_LEFT", "message": "the caller left, or the process stopped"}


class RecordingPipeline(Pipeline):
    """Conducts requests, and hands a record of each to all sinks when it is over.

    Args:
        sinks: Take the records.
        parts: As the pipeline's.
    """

    def __init__(self, sinks: Sequence[Sink], **parts: Any) -> None:
        super().__init__(**parts)
        self._sinks = sinks
        # By the request's id, while somebody works on it.
        self._records: WeakValueDictionary[str, Record] = WeakValueDictionary()

    async def complete(self, caller: Caller, chat: ModelRequest) -> Answer:
        """As the pipeline."""
        record = self._begun(caller, chat, stream=False)
        with self._ending(record):
            answer = await super().complete(caller, chat)
            record.add(answer.body)
            return answer

    async def stream(self, caller: Caller, chat: ModelRequest) -> Stream:
        """As the pipeline."""
        record = self._begun(caller, chat, stream=True)
        try:
            stream = await super().stream(caller, chat)
        except BaseException:
            with self._ending(record):
                raise
        chunks = self._recorded(stream.chunks, record)
        # Begun as the pipeline's is, so that closing it always runs its end.
        await anext(chunks)
        return replace(stream, chunks=chunks)

    async def _recorded(self, chunks: AsyncGenerator[str, None], record: Record) -> AsyncGenerator[str, None]:
        with self._ending(record):
            async with aclosing(chunks):
                yield ""
                async for chunk in chunks:
                    record.add(chunk)
                    yield chunk

    def _answered(self, decision: Decision, report: executor_pb2.Report) -> None:
        super()._answered(decision, report)
        if record := self._records.get(decision.request_id):
            record.taken = _taken(report)

    def _begun(self, caller: Caller, chat: ModelRequest, *, stream: bool) -> Record:
        ident = telemetry.request_id.get()
        about = {
            "request_id": ident,
            "trace_id": telemetry.trace_id(),
            "operation": chat.operation.value,
            "model": chat.model,
            "stream": stream,
            "key_id": caller.key_id,
            "user_id": caller.user_id,
            "organization_id": caller.organization_id,
            "plan": caller.plan.name,
        }
        record = Record(about, orjson.dumps(chat.body), stream=stream)
        self._records[ident] = record
        return record

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


def _taken(report: executor_pb2.Report) -> dict[str, Any]:
    last = report.attempts[-1] if report.attempts else executor_pb2.Attempt()
    return {
        "answered_by": last.deployment,
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
