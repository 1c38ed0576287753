"""The two kinds of answers: JSON, and a stream of server-sent events."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from typing import Any

import orjson
from fastapi import Response
from starlette.types import Receive, Send

from services.chassis import errors
from services.gateway.rest.api_format import ApiFormat
from services.gateway.rest.requests import CallerLeft, unless_caller_leaves

EVENTS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    # nginx would hold chunks back.
    (b"x-accel-buffering", b"no"),
)


class JsonResponse(Response):
    """JSON by orjson, for the routes of FastAPI."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Serialize; bytes and texts are JSON already."""
        if isinstance(content, str):
            return content.encode()
        return content if isinstance(content, bytes) else orjson.dumps(content)


def json_head(body: bytes, headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """The headers of a whole answer."""
    length = b"%d" % len(body)
    return [(b"content-type", b"application/json"), (b"content-length", length), *_raw(headers)]


async def send_json(
    send: Send, body: bytes, status: int = 200, headers: Mapping[str, str] | None = None
) -> None:
    """Send a whole answer."""
    await send({"type": "http.response.start", "status": status, "headers": json_head(body, headers or {})})
    await send({"type": "http.response.body", "body": body})


async def send_events(
    receive: Receive,
    send: Send,
    chunks: AsyncGenerator[str, None],
    headers: Mapping[str, str],
    form: ApiFormat,
) -> None:
    """Send the chunks of an answer as events until they end or the caller is gone; closes them."""
    async with aclosing(chunks):
        await send({"type": "http.response.start", "status": 200, "headers": [*EVENTS, *_raw(headers)]})
        with suppress(CallerLeft):
            await unless_caller_leaves(receive, _send_all(send, chunks, form))


async def _send_all(send: Send, chunks: AsyncGenerator[str, None], form: ApiFormat) -> None:
    last = form.end
    try:
        async for chunk in chunks:
            await send({"type": "http.response.body", "body": form.event(chunk), "more_body": True})
    except errors.Fault as fault:
        # After the first chunk an error is an event, and the mark of a good end does not follow it.
        last = form.error_event(fault)
    await send({"type": "http.response.body", "body": last})


def _raw(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
