"""What becomes of a request that was admitted: its chunks, and the one end of its reservation."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any, TypeAlias

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from lumni.chat.v1 import chat_pb2
from lumni.classifier.v1 import classifier_pb2
from lumni.events.v1 import events_pb2
from lumni.executor.v1 import executor_pb2
from lumni.selector.v1 import selector_pb2

from services.chassis import errors
from services.gateway.cache.response_cache import ResponseCache
from services.gateway.config.live import Live
from services.gateway.keys.permissions import Caller
from services.gateway.limits.admission import Admission, Limits
from services.gateway.limits.settlement import Report
from services.gateway.peers.clients import Executor
from services.gateway.peers.decisions import DecisionPublisher
from services.gateway.pipeline.decision import Decider, Decision
from services.gateway.pipeline.pipeline import Pipeline
from services.gateway.requests import chat_request
from services.gateway.requests.model_request import ModelRequest
from tests.gateway.money import caller

CHAT = chat_request.parse(b'{"messages": [{"role": "user", "content": "What is 17 times 23?"}]}')
WORD = '{"choices":[{"index":0,"delta":{"content":"391"},"finish_reason":null}]}'
FINISH = '{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'
REPORT = executor_pb2.Report(
    cost_nano_usd=7, attempts=[executor_pb2.Attempt(id="r1/1", deployment="small@openai", cost_nano_usd=7)]
)
# What an executor does next: send, fail, or wait.
Step: TypeAlias = str | executor_pb2.Report | errors.Fault | asyncio.Event


def fault(report: executor_pb2.Report | None = None) -> errors.Fault:
    """A failed call, with the report in its details as it arrives over gRPC."""
    details = []
    if report is not None:
        packed = AnyMessage()
        packed.Pack(report)
        details.append(packed)
    return errors.Unavailable("every provider failed", details=tuple(details))


class OneSelection(Decider):
    """Decides the same about every request, or fails."""

    def __init__(self, failure: errors.Fault | None = None) -> None:
        self._failure = failure
        self.version = Live("v1")
        self.deployments: Sequence[str] = ("small@openai",)

    async def decide(
        self, caller: Caller, chat: ModelRequest, context: chat_pb2.RequestContext, *, what_if: bool = False
    ) -> Decision:
        if self._failure:
            raise self._failure
        candidates = [
            selector_pb2.Candidate(deployment=one, max_cost_nano_usd=10) for one in self.deployments
        ]
        return Decision(
            began=0,
            context=context,
            classification=classifier_pb2.Classification(version="v1"),
            selection=selector_pb2.Selection(candidates=candidates),
            degraded=[],
        )


class ScriptedExecutor(Executor):
    """Takes its steps one after the other."""

    def __init__(self, *steps: Step) -> None:
        self._steps = steps
        self.calls = 0
        self.reached = asyncio.Event()
        self.closed = False

    async def execute(
        self, request: executor_pb2.ExecuteRequest, timeout_s: float
    ) -> executor_pb2.ExecuteResponse:
        response = executor_pb2.ExecuteResponse()
        async for piece in self._play():
            if isinstance(piece, str):
                response.body_json = piece
            else:
                response.report.CopyFrom(piece)
        return response

    async def stream(
        self, request: executor_pb2.ExecuteRequest, timeout_s: float
    ) -> AsyncGenerator[executor_pb2.StreamExecuteResponse, None]:
        try:
            async for piece in self._play():
                if isinstance(piece, str):
                    chunks = executor_pb2.Chunks(chunk_json=[piece], finishing=[0] if piece == FINISH else [])
                    yield executor_pb2.StreamExecuteResponse(chunks=chunks)
                else:
                    yield executor_pb2.StreamExecuteResponse(report=piece)
        finally:
            self.closed = True

    async def _play(self) -> AsyncGenerator[str | executor_pb2.Report, None]:
        self.calls += 1
        for step in self._steps:
            if isinstance(step, errors.Fault):
                raise step
            if isinstance(step, asyncio.Event):
                self.reached.set()
                await step.wait()
            else:
                yield step


class RecordingLimits(Limits):
    """Admits everybody, or nobody, and notes how each reservation ended."""

    billable_attempts = 2

    def __init__(self, refusal: errors.Fault | None = None) -> None:
        self._refusal = refusal
        self.admitted: tuple[str, ...] = ("small@openai",)
        self.ends: list[Report | None] = []

    async def admit(self, *_: Any, request_id: str, **more: Any) -> Admission:
        if self._refusal:
            raise self._refusal
        return Admission(request_id, self.admitted, output_cap=100, admitted_unix_ms=1)

    def count(self, caller: Caller, request_id: str) -> None:
        return None

    async def counted(self, caller: Caller, request_id: str, answer: bytes = b"") -> Admission:
        return await self.admit(caller, request_id=request_id)

    def settle(self, admission: Admission, report: Report) -> None:
        self.ends.append(report)

    def abandon(self, admission: Admission) -> None:
        self.ends.append(None)


class RecordingPublisher(DecisionPublisher):
    """Keeps what is published."""

    def __init__(self) -> None:
        self.events: list[events_pb2.DecisionEvent] = []
        self.usage: list[events_pb2.UsageEvent] = []

    def publish(self, event: events_pb2.DecisionEvent | events_pb2.UsageEvent) -> None:
        if isinstance(event, events_pb2.DecisionEvent):
            self.events.append(event)
        else:
            self.usage.append(event)


class Setup:
    """A pipeline with fakes around it."""

    def __init__(
        self,
        *steps: Step,
        undecided: errors.Fault | None = None,
        refusal: errors.Fault | None = None,
        conducting: Callable[..., Pipeline] = Pipeline,
        cache: ResponseCache | None = None,
    ) -> None:
        self.executor = ScriptedExecutor(*steps)
        self.decider = OneSelection(undecided)
        self.limits = RecordingLimits(refusal)
        self.decisions = RecordingPublisher()
        self.pipeline = conducting(
            decider=self.decider,
            executor=self.executor,
            limits=self.limits,
            decisions=self.decisions,
            timeout_s=5,
            cache=cache,
        )

    async def read(self, sent: list[str], chat: ModelRequest = CHAT) -> None:
        """Read a stream to its end into `sent`."""
        stream = await self.pipeline.stream(caller(), chat)
        async for chunk in stream.chunks:
            sent.append(chunk)  # noqa: PERF401  (what came before a failure counts)


def pending() -> asyncio.Event:
    """A step that never ends by itself."""
    return asyncio.Event()


async def leave(setup: Setup, work: Awaitable[object]) -> None:
    """Start, and cancel when the executor has reached its event, as a server does when the caller is gone."""
    task = asyncio.ensure_future(work)
    await setup.executor.reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_stream_sends_each_chunk_and_lumni_in_the_last() -> None:
    setup, sent = Setup(WORD, FINISH, REPORT), list[str]()
    await setup.read(sent)

    assert WORD == sent[0]
    last = json.loads(sent[1])
    assert "stop" == last["choices"][0]["finish_reason"]
    assert 7 == last["lumni"]["cost"]["nano_usd"]
    assert 2 == len(sent)
    assert [REPORT] == setup.limits.ends


async def test_chunks_after_the_finishing_one_keep_their_order() -> None:
    usage = '{"choices":[],"usage":{"total_tokens":9}}'
    setup, sent = Setup(FINISH, usage, REPORT), list[str]()
    await setup.read(sent)

    assert FINISH == sent[0]
    assert {"total_tokens": 9} == json.loads(sent[1])["usage"]
    assert "lumni" in json.loads(sent[1])


async def test_a_stream_that_finishes_no_choice_ends_with_a_chunk_for_lumni() -> None:
    setup, sent = Setup(WORD, REPORT), list[str]()
    await setup.read(sent)

    assert WORD == sent[0]
    assert ([], 7) == (json.loads(sent[1])["choices"], json.loads(sent[1])["lumni"]["cost"]["nano_usd"])


@pytest.mark.parametrize(
    ("steps", "chunks", "ends"),
    [
        ([WORD, fault()], [WORD], [None]),
        ([WORD, fault(REPORT)], [WORD], [REPORT]),
        # What finished a choice is not kept back because its report failed to come.
        ([WORD, FINISH, fault()], [WORD, FINISH], [None]),
        ([WORD, FINISH, fault(REPORT)], [WORD, FINISH], [REPORT]),
        ([WORD, FINISH], [WORD, FINISH], [None]),
        # A report that came counts, whatever comes after it.
        ([WORD, REPORT, fault()], [WORD], [REPORT]),
    ],
)
async def test_a_cut_stream_sends_what_came_and_then_fails(
    steps: Sequence[Step], chunks: list[str], ends: list[Report | None]
) -> None:
    setup, sent = Setup(*steps), list[str]()
    with pytest.raises(errors.Unavailable):
        await setup.read(sent)

    assert chunks == sent
    assert ends == setup.limits.ends
    assert setup.executor.closed


@pytest.mark.parametrize(("steps", "ends"), [([fault()], [None]), ([fault(REPORT)], [REPORT]), ([], [None])])
async def test_a_stream_that_fails_before_its_first_piece_never_begins(
    steps: Sequence[Step], ends: list[Report | None]
) -> None:
    setup = Setup(*steps)
    with pytest.raises(errors.Unavailable):
        await setup.pipeline.stream(caller(), CHAT)

    assert ends == setup.limits.ends


@pytest.mark.parametrize(
    ("steps", "chunks", "ends"),
    [
        ([pending()], [], [None]),
        ([WORD, pending()], [WORD], [None]),
        ([WORD, FINISH, pending()], [WORD], [None]),
        ([WORD, FINISH, REPORT, pending()], [WORD], [REPORT]),
    ],
)
async def test_a_caller_who_leaves_ends_the_reservation_once(
    steps: Sequence[Step], chunks: list[str], ends: list[Report | None]
) -> None:
    setup, sent = Setup(*steps), list[str]()
    await leave(setup, setup.read(sent))

    assert chunks == sent
    assert ends == setup.limits.ends
    assert setup.executor.closed


@pytest.mark.parametrize(("read", "ends"), [(0, [None]), (1, [None]), (2, [REPORT])])
async def test_a_stream_that_is_closed_early_ends_the_reservation_once(
    read: int, ends: list[Report | None]
) -> None:
    setup = Setup(WORD, FINISH, REPORT)
    stream = await setup.pipeline.stream(caller(), CHAT)
    for _ in range(read):
        await anext(stream.chunks)
    await stream.chunks.aclose()

    assert ends == setup.limits.ends
    assert setup.executor.closed


async def test_a_whole_answer_is_settled() -> None:
    setup = Setup('{"choices":[]}', REPORT)
    answer = await setup.pipeline.complete(caller(), CHAT)

    assert 7 == json.loads(answer.body)["lumni"]["cost"]["nano_usd"]
    assert [REPORT] == setup.limits.ends


@pytest.mark.parametrize(("failure", "ends"), [(fault(), [None]), (fault(REPORT), [REPORT])])
async def test_a_failed_answer_is_settled_with_the_report_that_it_carries(
    failure: errors.Fault, ends: list[Report | None]
) -> None:
    setup = Setup(failure)
    with pytest.raises(errors.Unavailable, match="every provider failed"):
        await setup.pipeline.complete(caller(), CHAT)

    assert ends == setup.limits.ends


async def test_a_caller_who_does_not_wait_for_an_answer_abandons_it() -> None:
    setup = Setup(pending())
    await leave(setup, setup.pipeline.complete(caller(), CHAT))

    assert [None] == setup.limits.ends


async def fails() -> None:
    raise errors.NotFound("no such answer")


async def succeeds() -> None:
    pass


@pytest.mark.parametrize("work", [succeeds, fails])
async def test_what_calls_no_model_costs_nothing_however_it_ends(work: Callable[[], Awaitable[None]]) -> None:
    setup = Setup()
    try:
        async with setup.pipeline.without_model(caller()):
            assert not setup.limits.ends
            await work()
    except errors.NotFound:
        assert work is fails

    assert [executor_pb2.Report()] == setup.limits.ends


async def test_every_decision_is_published_and_a_refusal_with_its_reason() -> None:
    admitted = Setup('{"choices":[]}', REPORT)
    await admitted.pipeline.complete(caller(), CHAT)
    refused = Setup(refusal=errors.Exhausted("no requests left", reason="RATE_LIMIT_EXCEEDED"))
    with pytest.raises(errors.Exhausted):
        await refused.pipeline.stream(caller(), CHAT)
    undecided = Setup(undecided=errors.NotFound("no such model", reason="MODEL_NOT_FOUND"))
    with pytest.raises(errors.NotFound):
        await undecided.pipeline.complete(caller(), CHAT)

    (one,), (two,), (three,) = (setup.decisions.events for setup in (admitted, refused, undecided))
    assert ("", "v1", 1) == (one.refusal, one.classification.version, one.context.admitted_unix_ms)
    assert ("RATE_LIMIT_EXCEEDED", "v1") == (two.refusal, two.classification.version)
    assert ("MODEL_NOT_FOUND", False) == (three.refusal, three.HasField("classification"))
    assert not refused.limits.ends
    assert not undecided.limits.ends


@pytest.mark.parametrize(
    ("report", "refusals"),
    [(executor_pb2.Report(), ["", "SERVICE_UNAVAILABLE"]), (REPORT, [""]), (None, [""])],
)
async def test_a_request_without_an_attempt_is_told_once_more_with_the_reason(
    report: executor_pb2.Report | None, refusals: list[str]
) -> None:
    for whole in (True, False):
        setup = Setup(fault(report))
        with pytest.raises(errors.Unavailable):
            await (
                setup.pipeline.complete(caller(), CHAT) if whole else setup.pipeline.stream(caller(), CHAT)
            )

        assert refusals == [one.refusal for one in setup.decisions.events]
        # It is the same decision, so it stays one row.
        assert 1 == len({one.decided_unix_ms for one in setup.decisions.events})
