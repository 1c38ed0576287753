"""The socket's side of HTTP: connections that live on, requests that overlap, and what is no HTTP."""

import asyncio
from collections.abc import AsyncIterator

import orjson
import pytest

from tests.simulator import running


@pytest.fixture
async def connection() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    async with running() as simulator:
        host, port = simulator.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        yield reader, writer
        writer.close()
        await writer.wait_closed()


def _request(model: str, *headers: str) -> bytes:
    body = orjson.dumps({"model": model, "messages": [{"role": "user", "content": "Say this"}]})
    lines = ["POST /v1/chat/completions HTTP/1.1", "host: here", f"content-length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def _answer(reader: asyncio.StreamReader) -> dict[str, object]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    found: dict[str, object] = orjson.loads(await reader.readexactly(length))
    return found


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def test_overlapping_requests_on_one_connection_are_answered_in_their_order(
    connection: Connection,
) -> None:
    reader, writer = connection
    writer.write(_request("a-sim-slow-30") + _request("b") + _request("c-sim-drip-1"))

    assert [(await _answer(reader))["model"] for _ in range(3)] == ["a-sim-slow-30", "b", "c-sim-drip-1"]


async def test_a_request_may_come_byte_by_byte(connection: Connection) -> None:
    reader, writer = connection
    for byte in _request("a"):
        writer.write(bytes([byte]))
        await writer.drain()

    assert (await _answer(reader))["model"] == "a"


async def test_a_caller_that_asks_before_a_large_body_is_told_to_go_on(connection: Connection) -> None:
    reader, writer = connection
    head, _, body = _request("a", "expect: 100-continue").partition(b"\r\n\r\n")
    writer.write(head + b"\r\n\r\n")
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(body)

    assert (await _answer(reader))["model"] == "a"


async def test_a_connection_closes_when_the_caller_wants_it(connection: Connection) -> None:
    reader, writer = connection
    writer.write(_request("a", "connection: close"))
    await _answer(reader)

    assert await reader.read() == b""


async def test_what_is_no_http_is_refused(connection: Connection) -> None:
    reader, writer = connection
    writer.write(b"\x16\x03\x01 nonsense\r\n\r\n")

    assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
