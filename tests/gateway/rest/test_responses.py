"""A stream of server-sent events, read to its end, cut short, or not read at all."""

import asyncio
import json
from collections.abc import AsyncGenerator

import pytest
from starlette.types import Message

from services.chassis import errors
from services.gateway.rest.api_format import OPENAI
from services.gateway.rest.responses import send_events


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
    await send_events(receive, send, chunks, {"x-lumni-tier": "fast"}, OPENAI)
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
        await send_events(receive, broken, chunks, {}, OPENAI)

    assert answer.closed
