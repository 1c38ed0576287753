"""A stream of server-sent events, read to its end, cut short, or not read at all."""

import asyncio
import json
from collections.abc import AsyncGenerator, Coroutine
from dataclasses import dataclass
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from starlette.types import Message, Receive, Scope, Send

from services.chassis import errors
from services.chassis.byte_budget import ByteBudget, Lease
from services.gateway.config.plans import Plan
from services.gateway.keys.permissions import Caller
from services.gateway.limits.mistakes import Attempt
from services.gateway.rest import event_stream
from services.gateway.rest.api_format import OPENAI
from services.gateway.rest.exchange import Exchange
from services.gateway.rest.middleware import RequestMiddleware


class Answer:
    """Chunks that note whether they were closed; an event blocks, and a fault fails."""

    def __init__(self, *steps: str | errors.Fault | asyncio.Event) -> None:
        self._steps = steps
        self.closed = False

    async def chunks(self) -> AsyncGenerator[str, None]:
        try:
            # As those of the pipeline, it has begun before it is read.
            yield ""
            for step in self._steps:
                if isinstance(step, errors.Fault):
                    raise step
                if isinstance(step, asyncio.Event):
                    await step.wait()
                else:
                    yield step
        finally:
            self.closed = True


@dataclass
class Begun:
    """What a pipeline gives when the first piece has come."""

    chunks: AsyncGenerator[str, None]
    headers: dict[str, str]


async def begun(chunks: AsyncGenerator[str, None], headers: dict[str, str]) -> Begun:
    return Begun(chunks, headers)


def exchange(receive: Receive, send: Send) -> Exchange:
    caller = Caller(key_id="k", plan=Plan("open"))
    return Exchange({}, receive, send, caller, Attempt(), Lease(ByteBudget(0)), OPENAI)


async def sent(answer: Answer, *, leaves: bool = False) -> tuple[int, bytes]:
    """The status and the body that a caller gets, who perhaps leaves at once."""
    messages: list[Message] = []

    async def receive() -> Message:
        if not leaves:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        messages.append(message)

    chunks = answer.chunks()
    await anext(chunks)
    await exchange(receive, send).stream_of(begun(chunks, {"x-lumni-tier": "fast"}))
    assert (b"x-lumni-tier", b"fast") in messages[0]["headers"]
    return messages[0]["status"], b"".join(one.get("body", b"") for one in messages)


async def test_each_chunk_is_an_event_and_done_is_the_last() -> None:
    answer = Answer("1", "2")

    assert (200, b"data: 1\n\ndata: 2\n\ndata: [DONE]\n\n") == await sent(answer)
    assert answer.closed


async def test_an_error_after_the_first_chunk_is_an_event_and_nothing_follows_it() -> None:
    _, body = await sent(Answer("1", errors.Unavailable("cut")))
    first, error = body.removesuffix(b"\n\n").split(b"\n\n")

    assert b"data: 1" == first
    assert {
        "message": "cut",
        "type": "server_error",
        "param": None,
        "code": "service_unavailable",
    } == json.loads(error.removeprefix(b"data: "))["error"]


@pytest.mark.parametrize("cut", [True, False])
async def test_a_stream_that_was_cut_is_an_error_in_its_trace_whatever_its_status(
    spans: InMemorySpanExporter, cut: bool
) -> None:
    answer = Answer("1", errors.Unavailable("what a caller wrote")) if cut else Answer("1")
    messages: list[Message] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        chunks = answer.chunks()
        await anext(chunks)
        await exchange(receive, send).stream_of(begun(chunks, {}))

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        messages.append(message)

    scope: Scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": []}
    await RequestMiddleware(application)(scope, receive, send)

    assert 200 == messages[0]["status"]
    (span,) = spans.get_finished_spans()
    assert span.attributes is not None
    assert 200 == span.attributes["http.response.status_code"]
    assert ("SERVICE_UNAVAILABLE" if cut else None) == span.attributes.get("error.type")
    assert (StatusCode.ERROR if cut else StatusCode.UNSET) is span.status.status_code
    assert "what a caller wrote" not in span.to_json()


@pytest.mark.parametrize("before", [[], ["1"]])
async def test_the_chunks_are_closed_when_the_caller_leaves(before: list[str]) -> None:
    answer = Answer(*before, asyncio.Event())
    _, body = await sent(answer, leaves=True)

    assert answer.closed
    assert b"[DONE]" not in body


async def test_the_chunks_are_closed_when_the_connection_is_broken_before_the_first() -> None:
    answer = Answer("1")

    async def broken(_: Message) -> None:
        raise ConnectionResetError

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    chunks = answer.chunks()
    await anext(chunks)
    with pytest.raises(ConnectionResetError):
        await exchange(receive, broken).stream_of(begun(chunks, {}))

    assert answer.closed


async def streamed(work: Coroutine[Any, Any, Begun]) -> list[Message]:
    """What a caller who stays is sent."""
    messages: list[Message] = []

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        messages.append(message)

    await exchange(receive, send).stream_of(work)
    return messages


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signs of life as soon as the loop has nothing else to do."""
    monkeypatch.setattr(event_stream, "SILENT_S", 0.001)


async def pause() -> None:
    await asyncio.sleep(0.1)


@pytest.mark.usefixtures("impatient")
async def test_a_model_that_is_silent_before_its_first_chunk_begins_the_answer_with_a_comment() -> None:
    answer = Answer("1")

    async def late() -> Begun:
        await pause()
        chunks = answer.chunks()
        await anext(chunks)
        return Begun(chunks, {"x-lumni-tier": "fast"})

    messages = await streamed(late())
    body = b"".join(one.get("body", b"") for one in messages)

    assert 1 == sum(one["type"] == "http.response.start" for one in messages)
    assert body.startswith(event_stream.COMMENT)
    assert body.endswith(b"data: 1\n\ndata: [DONE]\n\n")
    assert answer.closed


@pytest.mark.usefixtures("impatient")
async def test_a_model_that_is_silent_between_two_chunks_is_said_to_work() -> None:
    async def chunks() -> AsyncGenerator[str, None]:
        yield "1"
        await pause()
        yield "2"

    async def at_once() -> Begun:
        return Begun(chunks(), {})

    messages = await streamed(at_once())
    events = b"".join(one.get("body", b"") for one in messages).split(b"\n\n")

    assert [b"data: 1", b"data: 2", b"data: [DONE]", b""] == [e for e in events if not e.startswith(b":")]
    between = events[events.index(b"data: 1") + 1 : events.index(b"data: 2")]
    assert between
    assert {event_stream.COMMENT.strip()} == set(between)


@pytest.mark.usefixtures("impatient")
async def test_what_goes_wrong_after_a_comment_is_the_last_event() -> None:
    async def fails() -> Begun:
        await pause()
        raise errors.Unavailable("nobody answers")

    messages = await streamed(fails())

    assert 200 == messages[0]["status"]
    assert b"nobody answers" in messages[-1]["body"]
    assert not messages[-1].get("more_body")


async def test_what_goes_wrong_at_once_is_an_ordinary_failure() -> None:
    async def fails() -> Begun:
        raise errors.Unavailable("nobody answers")

    with pytest.raises(errors.Unavailable):
        await streamed(fails())
