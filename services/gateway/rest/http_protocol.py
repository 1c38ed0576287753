"""HTTP connections, with the limits on a request's head that uvicorn's do not have.

A head must be complete within `HEAD_S` of its first byte, or of the connection's beginning, and at most `HEAD_BYTES`
long. Bodies have limits of their own in `requests`.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_S = 10.0
HEAD_BYTES = 64 * 1024
TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n"
    b'{"error":{"message":"the headers are longer than 64 KiB; send less",'
    b'"type":"invalid_request_error","param":null,"code":"headers_too_large"}}'
)


class HeadTooLongError(Exception):
    """The head has grown beyond its limit; the parser ends with it."""


class HttpProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        # Bytes of the current head: of its finished parts, and raw.
        self._parts = self._bytes = 0
        self._heads = 0
        self._reading_head = True
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first head."""
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; a head that does not end is refused, however slowly or quickly it grows."""
        if self._reading_head:
            if self._timer is None:
                self._start_timer()
            heads = self._heads
            super().data_received(data)
            # What came with a finished head may be body: only an unfinished one is counted raw.
            if self._heads == heads and not self.transport.is_closing():
                self._bytes += len(data)
                if self._bytes > HEAD_BYTES:
                    self._refuse()
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
        """The head is whole."""
        self._heads += 1
        self._reading_head = False
        self._stop_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The next bytes are the next head's."""
        self._reading_head = True
        self._parts = self._bytes = 0
        super().on_message_complete()

    def _grow(self, size: int) -> None:
        self._parts += size
        if self._parts > HEAD_BYTES:
            self._refuse()
            raise HeadTooLongError

    def _refuse(self) -> None:
        self.transport.write(TOO_LARGE)
        self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Answer what was wrong, unless the connection is closing with an answer."""
        if not self.transport.is_closing():
            super().send_400_response(msg)

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(HEAD_S, self.transport.close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
