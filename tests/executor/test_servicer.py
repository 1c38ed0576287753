"""Between a run and a caller who reads slowly, or no longer."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, cast

import pytest
from lumni.chat.v1 import chat_pb2
from lumni.executor.v1 import executor_pb2 as pb

from services.chassis import errors
from services.chassis.rpc import interceptor
from services.chassis.rpc.settings import MAX_MESSAGE
from services.executor.attempts.messages import Origin
from services.executor.attempts.model import Report, Work
from services.executor.formats.base import Chunk
from services.executor.servicer import BACKLOG, BACKLOG_CHARS, ExecutorServicer


class EndlessRun:
    """A run whose stream has no end; each chunk is `text`, or else its number."""

    def __init__(self, text: str = "") -> None:
        self._text = text
        self.report = Report(queue_ms=7)
        self.sent = 0
        self.closed = asyncio.Event()

    async def chunks(self) -> AsyncGenerator[Chunk]:
        try:
            while True:
                self.sent += 1
                yield Chunk(self._text or str(self.sent))
        finally:
            self.closed.set()


def stream(run: EndlessRun, timeout_s: float) -> AsyncIterator[pb.StreamExecuteResponse]:
    interceptor.deadline.set(time.monotonic() + timeout_s)
    context = chat_pb2.RequestContext(request_id="r")
    execute = pb.ExecuteRequest(
        context=context, body_json='{"messages": []}', candidates=[pb.Candidate(deployment="d")]
    )
    servicer = ExecutorServicer(lambda _: cast("Any", run), lambda: ())
    return servicer.StreamExecute(pb.StreamExecuteRequest(execute=execute), None)


async def test_a_caller_that_stops_reading_holds_its_provider_only_until_the_deadline() -> None:
    run = EndlessRun()
    responses = stream(run, 0.2)
    first = await anext(responses)
    async with asyncio.timeout(60):
        await run.closed.wait()

    # What was read ahead is bounded.
    assert run.sent <= len(first.chunks.chunk_json) + BACKLOG + 1
    with pytest.raises(errors.TimedOut, match="before the answer was read") as caught:
        async for _ in responses:
            pass
    [report] = caught.value.details
    assert isinstance(report, pb.Report)
    assert 7 == report.timing.queue_ms


@pytest.mark.parametrize("size", [2**20, BACKLOG_CHARS - 1, BACKLOG_CHARS + 1])
async def test_large_chunks_that_nobody_reads_are_bounded_and_fit_into_messages(size: int) -> None:
    # Four bytes each, in UTF-8.
    run = EndlessRun("\U0001f600" * size)
    responses = stream(run, 0.5)
    assert (await anext(responses)).ByteSize() < MAX_MESSAGE
    async with asyncio.timeout(60):
        await run.closed.wait()

    # One was asked for in vain.
    assert (run.sent - 2) * size < 2 * BACKLOG_CHARS + size
    with pytest.raises(errors.TimedOut):
        async for response in responses:
            assert response.ByteSize() < MAX_MESSAGE


async def test_a_caller_that_disconnects_closes_the_run() -> None:
    run = EndlessRun()
    responses = cast("AsyncGenerator[pb.StreamExecuteResponse]", stream(run, 60))
    await anext(responses)

    await responses.aclose()

    assert run.closed.is_set()


@pytest.mark.parametrize("ahead_s", [-3600, 0, 3600])
async def test_a_callers_clock_that_is_wrong_neither_ends_a_call_nor_prolongs_it(ahead_s: int) -> None:
    begun: list[Work] = []

    def start(work: Work) -> Any:
        begun.append(work)
        return EndlessRun()

    interceptor.deadline.set(time.monotonic() + 60)
    context = chat_pb2.RequestContext(
        request_id="r", deadline_unix_ms=int((time.time() + ahead_s + 30) * 1000)
    )
    execute = pb.ExecuteRequest(
        context=context,
        body_json='{"messages": []}',
        candidates=[pb.Candidate(deployment="d")],
        timeout_ms=30_000,
    )
    before, before_ms = time.monotonic(), int(time.time() * 1000)
    servicer = ExecutorServicer(start, lambda: ())
    responses = servicer.StreamExecute(pb.StreamExecuteRequest(execute=execute), None)
    async with aclosing(cast("AsyncGenerator[pb.StreamExecuteResponse]", responses)):
        await anext(responses)

    after, after_ms = time.monotonic(), int(time.time() * 1000)
    [work] = begun
    assert before + 30 <= work.deadline <= after + 30
    # By this process' clock, as the attempts' own times are.
    assert isinstance(work.origin, Origin)
    assert before_ms + 30_000 <= work.origin.context.deadline_unix_ms <= after_ms + 30_000
