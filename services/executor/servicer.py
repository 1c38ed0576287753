"""Between the wire and the walk: unpack, run, pack."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing, suppress
from typing import Any

import orjson
from lumni.executor.v1 import executor_pb2 as pb
from lumni.executor.v1 import executor_pb2_grpc

from services.chassis import errors, rpc
from services.executor.attempts import messages
from services.executor.attempts.run import Walk, Work

# What a slow caller may leave unread before the provider has to wait.
BACKLOG = 256
# A picture or a sound in a body, as no text looks.
ENCODED = re.compile(r"[A-Za-z0-9+/=]{2048,}")
PICTURE_TOKENS = 1000


class ExecutorServicer(executor_pb2_grpc.ExecutorServiceServicer):
    """Execute, StreamExecute, ListDeployments."""

    def __init__(self, walk: Callable[[Work], Walk], listed: Callable[[], Iterable[pb.Deployment]]) -> None:
        self._walk = walk
        self._listed = listed

    async def Execute(self, request: pb.ExecuteRequest, context: object) -> pb.ExecuteResponse:
        """Walk the candidates until one answers."""
        walk = self._walk(_work(request, stream=False))
        answer = ""
        try:
            async with aclosing(walk.pieces()) as pieces:
                async for answer in pieces:  # noqa: B007  (a call without a stream has one piece)
                    pass
        except errors.Fault as fault:
            raise _with_report(fault, walk) from fault
        return pb.ExecuteResponse(body_json=answer, report=messages.report(walk.report))

    async def StreamExecute(
        self,
        request: pb.StreamExecuteRequest,
        context: object,
    ) -> AsyncIterator[pb.StreamExecuteResponse]:
        """Do the same and send the chunks as they come; those ready at once travel together."""
        work = _work(request.execute, stream=True)
        walk = self._walk(work)
        backlog: asyncio.Queue[str | None] = asyncio.Queue(BACKLOG)
        pump = asyncio.create_task(_pump(walk, backlog, work.deadline))
        try:
            ended = False
            while not ended:
                ready = [await backlog.get()]
                while not backlog.empty():
                    ready.append(backlog.get_nowait())
                chunks = [chunk for chunk in ready if chunk is not None]
                ended = len(chunks) < len(ready)
                if chunks:
                    yield pb.StreamExecuteResponse(chunks=pb.Chunks(chunk_json=chunks))
            await pump
        except errors.Fault as fault:
            raise _with_report(fault, walk) from fault
        finally:
            # Whoever leaves early takes the provider's connection with him, and its last record is made here.
            pump.cancel()
            with suppress(asyncio.CancelledError, errors.Fault):
                await pump
        yield pb.StreamExecuteResponse(report=messages.report(walk.report))

    async def ListDeployments(
        self,
        request: pb.ListDeploymentsRequest,
        context: object,
    ) -> pb.ListDeploymentsResponse:
        """Tell what is configured and how it fares."""
        return pb.ListDeploymentsResponse(deployments=self._listed())


async def _pump(walk: Walk, backlog: "asyncio.Queue[str | None]", deadline: float) -> None:
    try:
        async with aclosing(walk.pieces()) as pieces:
            async for piece in pieces:
                if not backlog.full():
                    backlog.put_nowait(piece)
                    continue
                # A caller who stays but does not read must not hold the provider's connection for ever.
                async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                    await backlog.put(piece)
    except TimeoutError:
        raise errors.TimedOut("the deadline passed before the answer was read") from None
    finally:
        # A full backlog has a reader; a reader that left cancels us, and reads no more.
        if (task := asyncio.current_task()) is not None and not task.cancelling():
            await backlog.put(None)


def _work(request: pb.ExecuteRequest, *, stream: bool) -> Work:
    try:
        body: Any = orjson.loads(request.body_json)
    except orjson.JSONDecodeError as mistake:
        raise errors.Invalid(f"body_json: is not JSON: {mistake}", param="body_json") from mistake
    if not isinstance(body, dict):
        raise errors.Invalid("body_json: expected a JSON object", param="body_json")
    operation = messages.OPERATIONS.get(request.operation)
    if operation is None:
        raise errors.Invalid(f"operation: {request.operation} is not known", param="operation")
    if body.get("background"):
        raise errors.Invalid("background: answers are not kept here; leave it out", param="background")
    if not request.candidates:
        raise errors.Invalid("candidates: at least one is needed", param="candidates")
    if not request.context.request_id:
        raise errors.Invalid("context.request_id: is needed to number attempts", param="context.request_id")
    deadline = time.monotonic() + rpc.remaining_s()
    if request.context.deadline_unix_ms:
        deadline = min(deadline, time.monotonic() + request.context.deadline_unix_ms / 1000 - time.time())
    return Work(
        request_id=request.context.request_id,
        operation=operation,
        body=body,
        stream=stream,
        candidates=messages.candidates(request.candidates),
        deadline=deadline,
        prompt_bound=_likely_tokens(request.body_json),
        most_billed=request.max_billed_attempts,
        tag=messages.Tag(request),
    )


def _likely_tokens(body_json: str) -> int:
    """Enough for a limit, and nothing has to be counted: a token is seldom shorter than three characters of text."""
    encoded = [len(run[0]) for run in ENCODED.finditer(body_json)]
    return (len(body_json) - sum(encoded)) // 3 + len(encoded) * PICTURE_TOKENS + 1


def _with_report(fault: errors.Fault, walk: Walk) -> errors.Fault:
    fault.details = (*fault.details, messages.report(walk.report))
    return fault
