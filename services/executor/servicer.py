"""Between the wire and the run: unpack, run, pack."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import aclosing, suppress
from typing import Any

import orjson
from lumni.executor.v1 import executor_pb2 as pb
from lumni.executor.v1 import executor_pb2_grpc

from services.chassis import bounds, errors, hosted_tools, json_bounds, offload, rpc
from services.chassis.bounds import COUNT, NAME, REQUEST_CONTEXT, Bounds, Number
from services.chassis.operations import Operation
from services.executor.attempts import messages
from services.executor.attempts.model import Work
from services.executor.attempts.read_ahead import ReadAhead
from services.executor.attempts.run import FallbackRun
from services.executor.formats.base import Chunk

# Chunks that may be unread by a slow caller before no more are read from the provider.
BACKLOG = 256
# Characters of them that may be, and that travel together: with four bytes each, the most that UTF-8 takes, they are
# half of the longest gRPC message. A picture alone may have more.
BACKLOG_CHARS = 4 * 2**20
# A token is seldom shorter than so many characters.
CHARS_PER_TOKEN = 3
# Where a body holds what was said so far.
TURNS = {Operation.CHAT: "messages", Operation.MESSAGES: "messages", Operation.RESPONSES: "input"}
# More than any selection lists: the best, their fallbacks and the free tail.
MOST_CANDIDATES = 1024
EXECUTE: Bounds = {
    "context": REQUEST_CONTEXT,
    "max_billed_attempts": Number(0, MOST_CANDIDATES),
    # Far beyond any context window.
    "likely_prompt_tokens": Number(0, 2**34),
    "web_search": Number(0, bounds.MOST_SEARCHES),
    "audio_ms": Number(0, bounds.MOST_AUDIO_MS),
    "timeout_ms": COUNT,
    "file": {"name": NAME, "content_type": NAME},
}
CANDIDATE: Bounds = {"deployment": NAME, "max_cost_nano_usd": COUNT}
# What a body must hold; without it LiteLLM's entry points fail in words of their own.
REQUIRED: Mapping[Operation, tuple[str, ...]] = {
    Operation.CHAT: ("messages",),
    Operation.RESPONSES: ("input",),
    Operation.MESSAGES: ("messages", "max_tokens"),
    Operation.COMPLETIONS: ("prompt",),
    Operation.EMBEDDINGS: ("input",),
    Operation.MODERATIONS: ("input",),
    Operation.IMAGE_GENERATION: ("prompt",),
    Operation.AUDIO_SPEECH: ("input", "voice"),
    Operation.AUDIO_TRANSCRIPTION: (),
}
# What is never streamed.
WHOLE = frozenset(
    (
        Operation.EMBEDDINGS,
        Operation.MODERATIONS,
        Operation.AUDIO_TRANSCRIPTION,
    )
)


class ExecutorServicer(executor_pb2_grpc.ExecutorServiceServicer):
    """Execute, StreamExecute, ListDeployments."""

    def __init__(
        self, start: Callable[[Work], FallbackRun], listed: Callable[[], Iterable[pb.Deployment]]
    ) -> None:
        self._start = start
        self._listed = listed

    async def Execute(self, request: pb.ExecuteRequest, context: object) -> pb.ExecuteResponse:
        """Try the candidates until one answers."""
        run = self._start(await _work(request, stream=False))
        answer = Chunk("")
        try:
            async with aclosing(run.chunks()) as chunks:
                # Without a stream the whole answer is the only one.
                async for chunk in chunks:
                    answer = chunk
        except errors.Fault as fault:
            raise _with_report(fault, run) from fault
        return pb.ExecuteResponse(
            body_json=answer.text,
            report=messages.report(run.report),
            content=answer.content,
            content_type=answer.content_type,
        )

    async def StreamExecute(
        self,
        request: pb.StreamExecuteRequest,
        context: object,
    ) -> AsyncIterator[pb.StreamExecuteResponse]:
        """Do the same and send the chunks as they come; those ready at once travel together."""
        work = await _work(request.execute, stream=True)
        run = self._start(work)
        backlog = ReadAhead[Chunk](BACKLOG, BACKLOG_CHARS)
        pump = asyncio.create_task(_pump(run, backlog, work.deadline))
        try:
            while ready := await backlog.take():
                yield messages.chunks(ready)
            await pump
        except errors.Fault as fault:
            raise _with_report(fault, run) from fault
        finally:
            # A caller that disconnects closes the provider's connection, and its last record is made here.
            pump.cancel()
            with suppress(asyncio.CancelledError, errors.Fault):
                await pump
        yield pb.StreamExecuteResponse(report=messages.report(run.report))

    async def ListDeployments(
        self,
        request: pb.ListDeploymentsRequest,
        context: object,
    ) -> pb.ListDeploymentsResponse:
        """List what is configured, with its health."""
        return pb.ListDeploymentsResponse(deployments=self._listed())


async def _pump(run: FallbackRun, backlog: ReadAhead[Chunk], deadline: float) -> None:
    try:
        async with aclosing(run.chunks()) as chunks:
            async for chunk in chunks:
                if backlog.is_full():
                    # A caller who stays but does not read must not hold the provider's connection for ever.
                    async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                        await backlog.room()
                backlog.add(chunk, len(chunk.text))
    except TimeoutError:
        raise errors.TimedOut("the deadline passed before the answer was read") from None
    finally:
        backlog.end()


async def _work(request: pb.ExecuteRequest, *, stream: bool) -> Work:
    bounds.check(request, EXECUTE)
    if len(request.candidates) > MOST_CANDIDATES:
        raise errors.Invalid(f"candidates: at most {MOST_CANDIDATES}", param="candidates")
    for i, candidate in enumerate(request.candidates):
        bounds.check(candidate, CANDIDATE, f"candidates[{i}].")
    operation = messages.OPERATIONS.get(request.operation)
    if operation is None:
        raise errors.Invalid(f"operation: {request.operation} is not known", param="operation")
    # Each reading of the field copies it.
    text = request.body_json
    body = await offload.run(len(text), lambda: _body(text, request, operation))
    if operation is Operation.RESPONSES and not request.store:
        # OpenAI keeps every response unless it is told not to.
        body["store"] = False
    if not request.candidates:
        raise errors.Invalid("candidates: at least one is needed", param="candidates")
    if not request.context.request_id:
        raise errors.Invalid("context.request_id: is needed to number attempts", param="context.request_id")
    for name in REQUIRED[operation]:
        if body.get(name) is None:
            raise errors.Invalid(f"{name}: is needed", param=name)
    if (operation is Operation.AUDIO_TRANSCRIPTION) != request.HasField("file"):
        raise errors.Invalid("file: is needed for transcriptions, and taken by nothing else", param="file")
    if stream and operation in WHOLE:
        raise errors.Invalid(f"operation: {operation} is not streamed; call Execute", param="operation")
    timeout_s = rpc.remaining_s()
    if request.timeout_ms:
        timeout_s = min(timeout_s, request.timeout_ms / 1000)
    # The ledger compares it with when attempts began, which is by this clock; the caller's may differ.
    request.context.deadline_unix_ms = int((time.time() + timeout_s) * 1000)
    return Work(
        request_id=request.context.request_id,
        operation=operation,
        body=body,
        stream=stream,
        candidates=messages.candidates(request.candidates),
        deadline=time.monotonic() + timeout_s,
        likely_prompt_tokens=request.likely_prompt_tokens or len(text) // CHARS_PER_TOKEN + 1,
        max_billed_attempts=request.max_billed_attempts,
        file=messages.file(request),
        audio_ms=request.audio_ms,
        size=len(text),
        origin=messages.Origin(request),
    )


def _body(text: str, request: pb.ExecuteRequest, operation: Operation) -> dict[str, Any]:
    # Clients may send the numbers of tokens instead of texts.
    most = json_bounds.MAX_NUMBERS if operation is Operation.EMBEDDINGS else json_bounds.MAX_VALUES
    raw = text.encode()
    json_bounds.check(raw, most)
    try:
        body: Any = orjson.loads(raw)
    except orjson.JSONDecodeError as mistake:
        raise errors.Invalid(f"body_json: is not JSON: {mistake}", param="body_json") from mistake
    if not isinstance(body, dict):
        raise errors.Invalid("body_json: expected a JSON object", param="body_json")
    allowed = hosted_tools.Allowed(request.web_search, request.store)
    hosted_tools.check(body, turns=TURNS.get(operation, ""), operation=operation, allowed=allowed)
    return body


def _with_report(fault: errors.Fault, run: FallbackRun) -> errors.Fault:
    fault.details = (*fault.details, messages.report(run.report))
    return fault
