"""Answers given before the request's body came to its end: the last ones of their connection.

Otherwise a body that never ends would keep the connection for ever.
"""

import asyncio
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# The extension by which a connection learns that the answer under way is its last, and that the caller may still send.
CLOSES = "lumni.closes"


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

        async def answer(message: Message) -> None:
            nonlocal early
            if message["type"] == "http.response.start" and not complete:
                if not _asks_first(scope):
                    # It may have come already, unread.
                    with suppress(TimeoutError):
                        async with asyncio.timeout(0):
                            await read()
                if not complete:
                    early = True
                    message["headers"] = [*message["headers"], (b"connection", b"close")]
            elif early and not message.get("more_body"):
                scope["extensions"][CLOSES]["call"]()
            await send(message)

        await self._app(scope, read, answer)


def _asks_first(scope: Scope) -> bool:
    """Whether the caller waits for leave to send the body, which reading would give."""
    return any(name == b"expect" for name, _ in scope["headers"])


def _has_body(scope: Scope) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0 "))
        for name, value in scope["headers"]
    )
