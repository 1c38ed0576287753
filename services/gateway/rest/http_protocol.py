"""HTTP connections, with the limits that uvicorn's do not have.

A body must have come within `ARRIVAL_S` of the end of its head, which has at most `HEAD_BYTES` and
comes within `HEAD_S` of its first byte, or of the connection's beginning. An answer must be read on within `UNREAD_S`.
`Connections` bounds how many there are.

A connection whose request has not come to its end is closed in two steps. Closing a socket at once while its peer sends
makes the kernel reset the connection, and a reset can take the answer away from a caller who has not read it yet. So
only our side is closed at first; what still comes is read and thrown away, within a time and a number of bytes.
"""

import asyncio
from contextlib import suppress
from typing import Any

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from services.gateway.rest.connections import Connections
from services.gateway.rest.early_answers import CLOSES

HEAD_S = 10.0
ARRIVAL_S = 30.0
UNREAD_S = 60.0
HEAD_BYTES = 64 * 1024
# How long what still comes after the last answer is read, in seconds, and how many bytes of it: twice the longest body.
LINGER_S = 1.0
LINGER_BYTES = 32 * 1024 * 1024


def _answer(
    status: str, message: str, code: str, kind: str = "invalid_request_error", more: str = ""
) -> bytes:
    """A whole answer in OpenAI's shape, after which the connection ends."""
    error = {"message": message, "type": kind, "param": None, "code": code}
    body = orjson.dumps({"error": error})
    head = (
        f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        f"connection: close\r\n{more}\r\n"
    )
    return head.encode() + body


TOO_LARGE = _answer(
    "431 Request Header Fields Too Large",
    "the headers are longer than 64 KiB; send less",
    "headers_too_large",
)
TOO_SLOW = _answer(
    "408 Request Timeout", "the request did not arrive in time; send it faster", "request_timeout"
)
NOT_HTTP = _answer("400 Bad Request", "this is not an HTTP/1.1 request", "invalid_http")
FULL = _answer(
    "503 Service Unavailable",
    "there are too many connections; try again",
    "too_many_connections",
    "server_error",
    "retry-after: 1\r\n",
)


class HeadTooLongError(Exception):
    """The head has grown beyond its limit; the parser ends with it."""


class HttpProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, connections: Connections, **more: Any) -> None:
        super().__init__(**more)
        self._open = connections
        # Bytes of the current head: of its finished parts, and raw.
        self._parts = self._bytes = 0
        self._heads = 0
        self._reading_head = True
        self._timer: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        # Whether the answer under way is the last, though its request has not come to its end.
        self._closes = False
        # Bytes that may still be dropped; None while requests are read.
        self._left_to_drop: int | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first head, if there is room for another connection."""
        super().connection_made(transport)
        if self._open.enter(self, self.client[0] if self.client else ""):
            self._start_timer(HEAD_S)
        else:
            # Without lingering: who is turned away for want of room takes none.
            self.transport.write(FULL)
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timers."""
        self._open.leave(self)
        self._stop_timer()
        self.resume_writing()
        super().connection_lost(exc)

    def make_way(self) -> None:
        """Close, for another needs the slot: nothing is under way here."""
        self._stop_timer()
        self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Read on; a head that does not end is refused, however slowly or quickly it grows."""
        if self.transport.is_closing():
            return
        if self._left_to_drop is not None:
            self._drop(len(data))
        elif self._reading_head:
            if self._timer is None:
                self._start_timer(HEAD_S)
            heads = self._heads
            super().data_received(data)
            # What came with a finished head may be body: only an unfinished one is counted raw.
            if self._heads == heads and not self._is_ending():
                self._bytes += len(data)
                if self._bytes > HEAD_BYTES:
                    self._refuse(TOO_LARGE)
        else:
            super().data_received(data)

    def on_url(self, url: bytes) -> None:
        """Count the path."""
        self._grow(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header."""
        self._grow(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is whole; the body has what is left of the time."""
        self._heads += 1
        self._reading_head = False
        self._stop_timer()
        self._start_timer(ARRIVAL_S)
        self._open.serve(self)
        self.scope["extensions"] = {CLOSES: {"call": self._close_after_answer}}
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The next bytes are the next head's."""
        self._reading_head = True
        self._parts = self._bytes = 0
        self._stop_timer()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request, if there may be one."""
        if self._closes and not self.transport.is_closing():
            self._linger()
            return
        super().on_response_complete()
        if not self._is_answering():
            self._open.wait(self)

    def pause_writing(self) -> None:
        """The caller reads slowly, or not at all."""
        super().pause_writing()
        if self._unread is None:
            self._unread = self.loop.call_later(UNREAD_S, self.transport.abort)

    def resume_writing(self) -> None:
        """The caller read on."""
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002
        """Answer that this is not HTTP, unless the connection is closing with an answer."""
        if not self._is_ending():
            self._refuse(NOT_HTTP)

    def _grow(self, size: int) -> None:
        self._parts += size
        if self._parts > HEAD_BYTES:
            self._refuse(TOO_LARGE)
            raise HeadTooLongError

    def _refuse(self, answer: bytes) -> None:
        """Answer and close; only close when an earlier answer is on its way."""
        if self.pipeline:
            # The answer to an earlier request has to come first.
            self.transport.close()
            return
        if self.cycle is None or not self.cycle.response_started or self.cycle.response_complete:
            self.transport.write(answer)
        if self.cycle is not None and not self.cycle.response_complete:
            # The application is told as if the caller had gone: nothing can be sent any more.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._linger()

    def _close_after_answer(self) -> None:
        """Have the answer under way be the connection's last."""
        # Uvicorn would close the socket at once.
        self.cycle.keep_alive = True
        self._closes = True

    def _linger(self) -> None:
        """Close our side, and read on for a moment; the connection may make way for another."""
        self._stop_timer()
        self._left_to_drop = LINGER_BYTES
        self._open.wait(self)
        self.flow.resume_reading()
        with suppress(OSError):
            # The caller may have gone.
            self.transport.write_eof()
        self._timer = self.loop.call_later(LINGER_S, self.transport.close)

    def _drop(self, size: int) -> None:
        """Throw away what came; close when it was too much. The caller's own end closes the connection too."""
        self._left_to_drop = (self._left_to_drop or 0) - size
        if self._left_to_drop < 0:
            self.transport.close()

    def _is_ending(self) -> bool:
        return self._left_to_drop is not None or self.transport.is_closing()

    def _is_answering(self) -> bool:
        return bool(self.pipeline) or (self.cycle is not None and not self.cycle.response_complete)

    def _too_slow(self) -> None:
        self._timer = None
        if self.pipeline:
            # It is not the caller who is slow: nothing is read while an earlier request is answered.
            self._start_timer(ARRIVAL_S)
        elif self._reading_head and not self._bytes and not self._parts:
            # Not a byte of a request came.
            self.transport.close()
        else:
            self._refuse(TOO_SLOW)

    def _start_timer(self, seconds: float) -> None:
        self._timer = self.loop.call_later(seconds, self._too_slow)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
