"""The pipeline, with a copy of what callers get for the mirrors that a request was drawn for."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from lumni.classifier.v1 import classifier_pb2
from lumni.executor.v1 import executor_pb2

from services.chassis import errors, telemetry
from services.chassis.enums import word
from services.gateway.keys.permissions import Caller
from services.gateway.mirroring.definition import Mirror
from services.gateway.mirroring.mirrors import Mirrors
from services.gateway.mirroring.pieces import Pieces
from services.gateway.mirroring.target import Answered
from services.gateway.pipeline.measures import OURS
from services.gateway.pipeline.pipeline import Answer, Stream
from services.gateway.pipeline.reservation import carried_report
from services.gateway.recording.recorder import RecordingPipeline
from services.gateway.recording.sinks import Sink
from services.gateway.requests.model_request import ModelRequest


class MirroringPipeline(RecordingPipeline):
    """Conducts and records requests, and hands those that are drawn to the mirrors when they are over.

    Args:
        mirrors: Take them.
        sinks: As the recording pipeline's.
        parts: As the pipeline's.

    """

    def __init__(self, mirrors: Mirrors, sinks: Sequence[Sink], **parts: Any) -> None:
        super().__init__(sinks, **parts)
        self._mirrors = mirrors

    async def complete(self, caller: Caller, request: ModelRequest) -> Answer:
        """As the pipeline."""
        drawn = self._mirrors.drawn(caller, request)
        if not drawn:
            return await super().complete(caller, request)
        try:
            answer = await super().complete(caller, request)
        except errors.Fault as fault:
            self._failed(drawn, caller, request, fault)
            raise
        category = word(classifier_pb2.Category, answer.decision.classification.category) or ""
        self._answered(drawn, caller, request, (answer.body,), answer.report, category)
        return answer

    async def stream(self, caller: Caller, request: ModelRequest) -> Stream:
        """As the pipeline."""
        drawn = self._mirrors.drawn(caller, request)
        if not drawn:
            return await super().stream(caller, request)
        try:
            stream = await super().stream(caller, request)
        except errors.Fault as fault:
            self._failed(drawn, caller, request, fault)
            raise
        chunks = self._copied(drawn, caller, request, stream)
        # Begun as the pipeline's is, so that closing it always runs its end.
        await anext(chunks)
        return replace(stream, chunks=chunks)

    async def _copied(
        self, drawn: Sequence[Mirror], caller: Caller, request: ModelRequest, stream: Stream
    ) -> AsyncGenerator[str, None]:
        """The chunks, after an empty text; of a stream that its caller leaves nothing can be compared."""
        pieces = Pieces()
        async with aclosing(stream.chunks):
            yield ""
            try:
                async for chunk in stream.chunks:
                    pieces.add(chunk)
                    yield chunk
            except errors.Fault as fault:
                self._failed(drawn, caller, request, fault)
                raise
        self._answered(drawn, caller, request, pieces.kept, stream.report, "")

    def _answered(
        self,
        drawn: Sequence[Mirror],
        caller: Caller,
        request: ModelRequest,
        pieces: Sequence[str],
        report: executor_pb2.Report,
        category: str,
    ) -> None:
        # One from the cache has no attempt, and no model of this moment to compare with.
        if report.attempts:
            answered = Answered(telemetry.request_id.get(), category, pieces, report)
            self._mirrors.add(drawn, caller, request, answered)

    def _failed(
        self, drawn: Sequence[Mirror], caller: Caller, request: ModelRequest, fault: errors.Fault
    ) -> None:
        """Mirror a request that failed at its providers; what its caller can mend fails anywhere."""
        report = carried_report(fault)
        if isinstance(fault, OURS) and report is not None and report.attempts:
            failed = Answered(telemetry.request_id.get(), report=report, failure=fault.reason)
            self._mirrors.add(drawn, caller, request, failed)
