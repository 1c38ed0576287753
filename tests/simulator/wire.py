"""HTTP/1.1 over raw sockets: what a test needs to send exactly the bytes, pauses and endings it wants."""

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import cast

import httptools

_REASONS = {int(status): status.phrase.encode() for status in HTTPStatus} | {529: b"Overloaded"}
_END_OF_CHUNKS = b"0\r\n\r\n"


class Exchange:
    """One request and the means to answer it."""

    __slots__ = (
        "body",
        "chunked",
        "connection",
        "finished",
        "headers",
        "keep_alive",
        "left",
        "method",
        "path",
        "query",
    )

    def __init__(self, connection: "Connection") -> None:
        self.connection = connection
        self.method = ""
        self.path = ""
        self.query = ""
        self.headers: dict[str, str] = {}
        self.body = b""
        self.keep_alive = True
        self.chunked = False
        self.finished = False
        # Called when the caller closes its socket before the answer ends.
        self.left: Callable[[], None] | None = None

    def whole(self, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> None:
        """Send a complete answer in one write."""
        self.finished = True
        self.connection.write(_head(status, [*headers, ("content-length", str(len(body)))]) + body)
        self.connection.proceed(self)

    def head(self, status: int, headers: Iterable[tuple[str, str]], length: int | None = None) -> None:
        """Send the head alone; a body of unknown length will be chunked."""
        self.chunked = length is None
        framing = ("transfer-encoding", "chunked") if length is None else ("content-length", str(length))
        self.connection.write(_head(status, [*headers, framing]))

    async def piece(self, data: bytes) -> None:
        """Send a part of the body, and wait while the caller does not read."""
        self.connection.write(self._framed(data))
        await self.connection.drained()

    def last(self, data: bytes) -> None:
        """Send the last part of the body and its end in one write."""
        self.finished = True
        end = _END_OF_CHUNKS if self.chunked else b""
        self.connection.write((self._framed(data) if data else b"") + end)
        self.connection.proceed(self)

    def close(self) -> None:
        """Close the connection behind what was sent, whatever was promised."""
        self.finished = True
        self.connection.transport.close()

    def reset(self) -> None:
        """Close the connection as a crashed peer does."""
        self.finished = True
        handle = self.connection.transport.get_extra_info("socket")
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.transport.abort()

    def _framed(self, data: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(data), data) if self.chunked else data


class Connection(asyncio.Protocol):
    """One socket; its requests are answered one after the other."""

    transport: asyncio.Transport

    def __init__(self, handle: Callable[[Exchange], None], connections: set["Connection"]) -> None:
        self._handle = handle
        self._connections = connections
        self._parser = httptools.HttpRequestParser(self)
        self._reading = Exchange(self)
        self._url = b""
        self._parts: list[bytes] = []
        self._current: Exchange | None = None
        self._waiting: deque[Exchange] = deque()
        self._writable: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A caller connected."""
        # uvloop's transports are no subclasses.
        self.transport = cast("asyncio.Transport", transport)
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone; an unfinished answer was abandoned."""
        self._connections.discard(self)
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        current, self._current = self._current, None
        if current is not None and not current.finished and current.left is not None:
            current.left()

    def pause_writing(self) -> None:
        """The caller does not read."""
        self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """The caller reads again."""
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    def data_received(self, data: bytes) -> None:
        """Parse what came; anything but HTTP ends the connection."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError:
            # A mistake of the simulator's: seen in its log, and by the caller as a closed socket.
            self.transport.close()
            raise
        except httptools.HttpParserError:
            self.write(_head(400, [("content-length", "0"), ("connection", "close")]))
            self.transport.close()

    def on_url(self, url: bytes) -> None:
        """httptools: a part of the request's target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """httptools: one header."""
        self._reading.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """httptools: the head is whole."""
        if self._reading.headers.get("expect", "").lower() == "100-continue":
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """httptools: a part of the body."""
        self._parts.append(body)

    def on_message_complete(self) -> None:
        """httptools: the request is whole."""
        exchange, self._reading = self._reading, Exchange(self)
        path, _, exchange.query = self._url.decode("latin-1").partition("?")
        exchange.path = path
        exchange.method = self._parser.get_method().decode("latin-1")
        exchange.keep_alive = self._parser.should_keep_alive()
        exchange.body = b"".join(self._parts)
        self._url, self._parts = b"", []
        if self._current is None:
            self._begin(exchange)
        else:
            self._waiting.append(exchange)

    def write(self, data: bytes) -> None:
        """Hand bytes to the socket."""
        if not self.transport.is_closing():
            self.transport.write(data)

    async def drained(self) -> None:
        """Wait until the caller reads; let others run in any case."""
        if self._writable is not None:
            await self._writable
        else:
            await asyncio.sleep(0)

    def proceed(self, done: Exchange) -> None:
        """An answer is complete: on to the next request."""
        self._current = None
        if not done.keep_alive:
            self.transport.close()
        elif self._waiting:
            self._begin(self._waiting.popleft())

    def _begin(self, exchange: Exchange) -> None:
        self._current = exchange
        self._handle(exchange)


def _head(status: int, headers: Iterable[tuple[str, str]]) -> bytes:
    lines = [f"{name}: {value}\r\n".encode("latin-1") for name, value in headers]
    return b"HTTP/1.1 %d %b\r\n%b\r\n" % (status, _REASONS.get(status, b"Unknown"), b"".join(lines))
