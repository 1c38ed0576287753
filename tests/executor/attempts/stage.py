"""A run over candidates whose engines follow a script."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Any

import orjson

from services.chassis import errors
from services.chassis.deployments import Deployment
from services.chassis.operations import Operation
from services.executor.attempts.model import Attempt, Candidate, Skip, Work
from services.executor.attempts.retry import RetryPolicy
from services.executor.attempts.run import FallbackRun
from services.executor.engines.base import Call, Engine, Phase, Piece
from services.executor.engines.outcomes import ErrorClass, Failed
from services.executor.engines.usage import Usage
from tests.executor.fleet import deployment

ANSWER = {
    "id": "a1",
    "object": "chat.completion",
    "created": 1,
    "model": "theirs",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
}


def streamed(content: str | None = None, finish: str | None = None, usage: Any = None) -> dict[str, Any]:
    made: dict[str, Any] = {
        "id": "a1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "theirs",
        "choices": [{"index": 0, "delta": {"content": content} if content else {}, "finish_reason": finish}],
    }
    if usage:
        made |= {"choices": [], "usage": usage}
    return made


STREAM = [streamed("hel"), streamed("lo"), streamed(finish="stop"), streamed(usage=ANSWER["usage"])]


class Hang:
    """The provider stays silent."""


class Script:
    """An engine that plays its lines, one list for each call; the last one forever."""

    name = "script"

    def __init__(self, *calls: Sequence[Any]) -> None:
        self._calls = list(calls)
        self.calls: list[Call] = []
        self.closed = 0

    async def call(self, call: Call) -> AsyncGenerator[Piece]:
        self.calls.append(call)
        call.progress.phase = Phase.SENT
        lines = self._calls.pop(0) if len(self._calls) > 1 else self._calls[0]
        try:
            for line in lines:
                if isinstance(line, Failed):
                    raise line
                if isinstance(line, Hang):
                    await asyncio.Event().wait()
                yield Piece(orjson.loads(orjson.dumps(line)))
        finally:
            self.closed += 1

    def estimate(self, call: Call, text: str) -> Usage:
        return Usage(prompt_tokens=7, completion_tokens=len(text))


@dataclass
class OpenPermit:
    gate: "OpenGate"
    deployment: Deployment
    queue_ms: float = 0.0

    def release(self, attempt: Attempt, headers: Mapping[str, str], retry_after_s: float | None) -> None:
        self.gate.released.append(attempt)


@dataclass
class OpenGate:
    skips: dict[str, Skip] = field(default_factory=dict)
    released: list[Attempt] = field(default_factory=list)

    async def acquire(self, deployment: Deployment, tokens: int, max_wait_s: float) -> OpenPermit | Skip:
        return self.skips.get(deployment.id) or OpenPermit(self, deployment)


class Recorder:
    """Records everything, or nothing."""

    def __init__(self, fault: errors.Fault | None = None) -> None:
        self.fault = fault
        self.begun: list[str] = []
        self.made: list[Attempt] = []

    async def started(self, work: Work, attempt: Attempt) -> None:
        if self.fault:
            raise self.fault
        self.begun.append(attempt.id)

    def ended(self, work: Work, attempt: Attempt) -> None:
        self.made.append(attempt)


class Scripts:
    """Scripts by the ids of deployments."""

    def __init__(self, engines: Mapping[str, Engine], retries: int = 0, timeout_s: float = 5) -> None:
        self._engines = engines
        self._retries = retries
        self._timeout_s = timeout_s

    def find(self, ident: str) -> tuple[Deployment, Engine] | None:
        engine = self._engines.get(ident)
        return (deployment("http://x", id=ident), engine) if engine else None

    def key(self, deployment: Deployment) -> str | None:
        if deployment.id == "keyless":
            raise LookupError
        return "sk-x"

    def retries(self, deployment: Deployment) -> int:
        return self._retries

    def timeout_s(self, deployment: Deployment, *, stream: bool) -> float:
        return self._timeout_s


SWIFT = RetryPolicy(first_s=0.001, longest_s=0.05, with_others_s=0.02, idle_s=5)


@dataclass
class Stage:
    run: FallbackRun
    events: Recorder
    gate: OpenGate

    async def play(self) -> list[Any]:
        async with aclosing(self.run.chunks()) as chunks:
            return [orjson.loads(chunk.text) async for chunk in chunks]

    async def leave(self, under_way: Callable[[], object]) -> None:
        """Play, and disconnect as a caller does once something is under way."""
        playing = asyncio.create_task(self.play())
        while not under_way():
            assert not playing.done()
            await asyncio.sleep(0)
        # A call is listed before its engine is entered.
        await asyncio.sleep(0.01)
        playing.cancel()
        with suppress(asyncio.CancelledError):
            await playing
        assert playing.cancelled()


def stage(
    engines: Mapping[str, Engine],
    *candidates: Candidate | str,
    stream: bool = False,
    retries: int = 0,
    timeout_s: float = 5,
    deadline_s: float = 5,
    events: Recorder | None = None,
    gate: OpenGate | None = None,
    policy: RetryPolicy = SWIFT,
    max_billed_attempts: int = 0,
    known: "type[Scripts] | None" = None,
    operation: Operation = Operation.CHAT,
    **body: Any,
) -> Stage:
    work = Work(
        request_id="r",
        operation=operation,
        body={"messages": [{"role": "user", "content": "hi"}], **body},
        stream=stream,
        candidates=[
            one if isinstance(one, Candidate) else Candidate(one, max_cost_nano_usd=900) for one in candidates
        ],
        deadline=time.monotonic() + deadline_s,
        max_billed_attempts=max_billed_attempts,
    )
    events, gate = events or Recorder(), gate or OpenGate()
    directory = (known or Scripts)(engines, retries, timeout_s)
    return Stage(FallbackRun(work, directory, gate, events, policy), events, gate)


def fails(error: ErrorClass, **more: Any) -> list[Failed]:
    return [Failed(error, f"it was {error}", **more)]
