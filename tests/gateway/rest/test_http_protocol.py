"""Callers who send too much, or too slowly."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from starlette.types import Receive, Scope, Send

from services.gateway.rest import http_protocol
from services.gateway.rest.server import serve


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
async def address() -> AsyncIterator[tuple[str, int]]:
    async with serve(hello, "127.0.0.1:0", 1) as bound:
        host, _, port = bound.rpartition(":")
        yield host, int(port)


@asynccontextmanager
async def connected(
    address: tuple[str, int],
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(*address)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def say(address: tuple[str, int], *pieces: bytes) -> bytes:
    """Send pieces, and read what comes first."""
    async with connected(address) as (reader, writer):
        with suppress(ConnectionError):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
        return await asyncio.wait_for(reader.read(1000), 10)


async def test_headers_beyond_64_kib_are_refused_whether_they_come_at_once_or_not(
    address: tuple[str, int],
) -> None:
    head = b"GET / HTTP/1.1\r\nhost: x\r\n"
    line = b"x-much: " + b"a" * 1000 + b"\r\n"

    for pieces in ([head + line * 70 + b"\r\n"], [head, *[line] * 70], [head + b"x-much: " + b"a" * 70_000]):
        answer = await say(address, *pieces)
        assert answer.startswith(b"HTTP/1.1 431 "), answer
        assert b'"code":"headers_too_large"' in answer


async def test_large_bodies_and_many_requests_on_one_connection_are_not_headers(
    address: tuple[str, int],
) -> None:
    async with connected(address) as (reader, writer):
        for _ in range(3):
            writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 200000\r\n\r\n" + b"a" * 200_000)
            assert b"200 OK" in await asyncio.wait_for(reader.readuntil(b"ok"), 10)


async def test_a_head_that_does_not_end_is_not_waited_for(address: tuple[str, int]) -> None:
    async with connected(address) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n")

        assert b"" == await asyncio.wait_for(reader.read(), http_protocol.HEAD_S + 5)
