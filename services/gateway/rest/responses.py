"""The two kinds of answers: JSON, and a stream of server-sent events."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from typing import Any

import orjson
from fastapi import Response
from starlette.types import Receive, Scope, Send

from services.chassis import errors, status
from services.gateway.rest.requests import CallerLeft, unless_caller_leaves


class JsonResponse(Response):
    """JSON by orjson."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Serialize; bytes and texts are JSON already."""
        if isinstance(content, str):
            return content.encode()
        return content if isinstance(content, bytes) else orjson.dumps(content)


class EventStream(Response):
    """Server-sent events of a completion, ended early when the caller leaves."""

    def __init__(self, chunks: AsyncGenerator[str, None], headers: Mapping[str, str]) -> None:
        self.chunks = chunks
        self.status_code = 200
        self.background = None
        self.media_type = "text/event-stream"
        self.init_headers({"cache-control": "no-cache", "x-accel-buffering": "no", **headers})
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send until the chunks end or the caller is gone."""
        async with aclosing(self.chunks):
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            with suppress(CallerLeft):
                await unless_caller_leaves(receive, self._send_all(send))
                await send({"type": "http.response.body", "body": b""})

    async def _send_all(self, send: Send) -> None:
        async def event(data: bytes) -> None:
            await send({"type": "http.response.body", "body": b"data: " + data + b"\n\n", "more_body": True})

        try:
            async for chunk in self.chunks:
                await event(chunk.encode())
        except errors.Fault as fault:
            # After the first chunk an error is an event, and no [DONE] follows it.
            await event(orjson.dumps(status.to_http(fault)[2]))
            return
        await event(b"[DONE]")
