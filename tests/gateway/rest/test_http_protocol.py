"""Callers who send too much, or too slowly."""

import asyncio
import resource
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import orjson
import pytest
from starlette.types import Receive, Scope, Send

from services.chassis.config import Mistakes
from services.gateway.rest import http_protocol
from services.gateway.rest.connections import Connections
from services.gateway.rest.draining import Draining
from services.gateway.rest.server import below_file_limit, serve

# Set when nothing more of the answer that does not end is sent.
GIVEN_UP = asyncio.Event()


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["path"] == "/early":
        await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"no"})
        return
    if scope["path"] == "/endless":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(1000):
            await send({"type": "http.response.body", "body": b"a" * 100_000, "more_body": True})
        GIVEN_UP.set()
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@asynccontextmanager
async def serving(most: int = 100, most_of_one: int = 0) -> AsyncIterator[tuple[str, int]]:
    limit = Connections(most, most_of_one_address=most_of_one)
    async with serve(hello, "127.0.0.1:0", 1, connections=limit, draining=Draining()) as bound:
        host, _, port = bound.rpartition(":")
        yield host, int(port)


@pytest.fixture
async def address() -> AsyncIterator[tuple[str, int]]:
    async with serving() as one:
        yield one


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


async def test_a_head_that_does_not_end_is_not_waited_for(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_S", 0.8)
    for head in (b"G", b"GET / HTTP/1.1\r\nhost: x\r\n"):
        assert_openai_error(await say(address, head), 408, "request_timeout")
    async with connected(address) as (reader, _):
        assert b"" == await asyncio.wait_for(reader.read(), 60)


async def test_a_body_that_does_not_end_is_not_waited_for(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "ARRIVAL_S", 0.5)
    monkeypatch.setattr(http_protocol, "LINGER_S", 60.0)
    head = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    answer = await asyncio.to_thread(answer_to_who_sends_on, address, head)

    assert_openai_error(answer, 408, "request_timeout")


def answer_to_who_sends_on(address: tuple[str, int], head: bytes) -> bytes:
    """The answer, up to the end of the connection, to a caller who sends pieces of a body until well after it came."""
    piece = b"1\r\na\r\n"
    with socket.create_connection(address, timeout=10) as caller:
        caller.sendall(head + piece)
        assert caller.recv(1, socket.MSG_PEEK)
        for _ in range(20):
            caller.sendall(piece)
            time.sleep(0.01)
        answer = b""
        while received := caller.recv(2**16):
            answer += received
    return answer


@pytest.mark.parametrize("limit", [{"LINGER_S": 0.2}, {"LINGER_BYTES": 1000, "LINGER_S": 60.0}])
async def test_who_sends_on_after_an_early_answer_is_cut_off(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch, limit: dict[str, float]
) -> None:
    for name, value in limit.items():
        monkeypatch.setattr(http_protocol, name, value)
    async with connected(address) as (_, writer):
        writer.write(b"POST /early HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        # It ends only with the connection.
        await asyncio.wait_for(drip(writer, b"1\r\na\r\n" * 10), 10)


async def drip(writer: asyncio.StreamWriter, piece: bytes) -> None:
    """Send a little, again and again."""
    with suppress(ConnectionError):
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.02)


def assert_openai_error(answer: bytes, status: int, code: str) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode()), answer
    error = orjson.loads(body)["error"]
    assert {"message", "type", "param", "code"} == error.keys()
    assert code == error["code"]


async def test_what_is_not_http_is_refused_in_openais_shape(address: tuple[str, int]) -> None:
    assert_openai_error(await say(address, b"\x16\x03\x01\x02\x00\x01\x00"), 400, "invalid_http")
    line = b"x-much: " + b"a" * 70_000
    assert_openai_error(await say(address, b"GET / HTTP/1.1\r\nhost: x\r\n" + line), 431, "headers_too_large")


@pytest.mark.parametrize("framing", [b"content-length: 1000000", b"transfer-encoding: chunked"])
async def test_an_early_answer_is_the_last_of_its_connection(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch, framing: bytes
) -> None:
    monkeypatch.setattr(http_protocol, "LINGER_S", 60.0)
    answer = await asyncio.to_thread(
        answer_to_who_sends_on, address, b"POST /early HTTP/1.1\r\nhost: x\r\n" + framing + b"\r\n\r\n"
    )

    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"\r\nconnection: close\r\n" in answer
    assert answer.endswith(b"\r\n\r\nno")


async def test_an_early_answer_to_a_body_that_has_come_keeps_the_connection(address: tuple[str, int]) -> None:
    async with connected(address) as (reader, writer):
        for _ in range(3):
            writer.write(b"POST /early HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}")
            answer = await asyncio.wait_for(reader.readuntil(b"no"), 60)
            assert b"connection: close" not in answer


async def test_who_waits_for_leave_to_send_a_body_is_not_given_it_with_an_early_answer(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "LINGER_S", 0.1)
    head = b"POST /early HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n"
    assert (await say(address, head)).startswith(b"HTTP/1.1 401 ")


async def test_an_answer_that_nobody_reads_is_given_up(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "UNREAD_S", 0.2)
    async with connected(address) as (reader, writer):
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n")
        await asyncio.wait_for(GIVEN_UP.wait(), 60)
        writer.transport.resume_reading()  # type: ignore[attr-defined]
        came = 0
        with suppress(ConnectionError):
            while piece := await asyncio.wait_for(reader.read(2**20), 60):
                came += len(piece)
    assert came < 50_000_000


async def test_idle_connections_make_way_for_new_ones() -> None:
    async with serving(most=5) as address, AsyncExitStack() as open_:
        idle = [await open_.enter_async_context(connected(address)) for _ in range(20)]
        for _ in range(5):
            answer = await say(address, b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200 "), answer
        for reader, _ in idle[:15]:
            assert b"" == await asyncio.wait_for(reader.read(), 60)


async def test_connections_that_are_being_served_stay_and_further_ones_are_refused() -> None:
    async with serving(most=2) as address, AsyncExitStack() as open_:
        busy = [await open_.enter_async_context(connected(address)) for _ in range(2)]
        for _, writer in busy:
            writer.write(b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
        for reader, _ in busy:
            # It is sent when the body is waited for.
            await asyncio.wait_for(reader.readuntil(b" 100 Continue\r\n\r\n"), 60)
        assert_openai_error(await say(address), 503, "too_many_connections")
        for reader, writer in busy:
            writer.write(b"{}")
            assert (await asyncio.wait_for(reader.readuntil(b"ok"), 60)).startswith(b"HTTP/1.1 200 ")


def test_the_file_limit_bounds_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = (1024, 2048)
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    raised: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda _, both: raised.append(both))

    assert (100, 1536) == (below_file_limit(100), below_file_limit(4096))
    assert [(2048, 2048)] == raised
    limits = (256, 512)
    with pytest.raises(Mistakes, match="open files"):
        below_file_limit(4096)


async def test_a_server_that_is_to_stop_goes_on_for_a_while_and_closes_each_connection_it_answers() -> None:
    draining = Draining(delay_s=3600)
    served = serve(hello, "127.0.0.1:0", 1, connections=Connections(9), draining=draining)
    host, _, port = (await served.__aenter__()).rpartition(":")
    request = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n"
    async with connected((host, int(port))) as (reader, writer):
        # It was open before, and not closed by the order to stop.
        writer.write(request)
        assert b"connection: close" not in await reader.readuntil(b"ok")
        stopping = asyncio.create_task(served.__aexit__(None, None, None))
        while not draining.begun:
            await asyncio.sleep(0)
        writer.write(request)
        assert b"connection: close" in await reader.read()
    # For longer than uvicorn keeps its own headers.
    for _ in range(15):
        await asyncio.sleep(0.1)
        async with connected((host, int(port))) as (reader, writer):
            writer.write(request)
            answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert b"connection: close" in answer
    # Whatever ends the wait: no more are taken.
    stopping.cancel()
    with suppress(asyncio.CancelledError):
        await stopping
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(host, int(port))
