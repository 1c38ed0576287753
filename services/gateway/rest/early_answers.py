"""Answers given before the request's body came to its end: the last ones of their connection.

Otherwise a body that never ends would keep the connection for ever. What still comes is read for a moment and thrown
away, for closing a socket with unread bytes would take the answer away from a caller who is still sending.
"""

import asyncio
from collections.abc import Awaitable
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# How long the rest of a body is read, in seconds.
LINGER_S = 1.0
# The extension by which a connection learns that its answer was given, and that it may make way for another.
LINGERS = "lumni.lingers"


class EarlyAnswers:
    """Wraps the application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or not _has_body(scope):
            await self._app(scope, receive, send)
            return
        complete = early = False

        async def read() -> Message:
            nonlocal complete
            message = await receive()
            complete = complete or message["type"] != "http.request" or not message.get("more_body")
            return message

        async def drain() -> None:
            while not complete:
                await read()

        async def answer(message: Message) -> None:
            nonlocal early
            if message["type"] == "http.response.start" and not complete:
                if not _asks_first(scope):
                    # It may have come already, unread.
                    await _within(0, read())
                if not complete:
                    early = True
                    message["headers"] = [*message["headers"], (b"connection", b"close")]
            elif early and not message.get("more_body"):
                await send({**message, "more_body": True})
                if lingers := scope.get("extensions", {}).get(LINGERS):
                    lingers["call"]()
                await _within(LINGER_S, drain())
                message = {"type": "http.response.body", "body": b""}
            await send(message)

        await self._app(scope, read, answer)


async def _within(seconds: float, work: Awaitable[object]) -> None:
    """Do what can be done in so much time."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await work


def _asks_first(scope: Scope) -> bool:
    """Whether the caller waits for leave to send the body, which reading would give."""
    return any(name == b"expect" for name, _ in scope["headers"])


def _has_body(scope: Scope) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0 "))
        for name, value in scope["headers"]
    )
