"""Connections of the direct engine: what they leave out is nothing but repetition."""

import asyncio
import gzip
import random
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from aiohttp.client_proto import ResponseHandler
from aiohttp.test_utils import TestServer

from services.executor.engines.connections import Connector

# More than is held of an answer that nobody reads, packed and unpacked.
BODIES = {"random": random.Random(7).randbytes(3 * 2**20), "even": bytes(40 * 2**20)}
ASKED = web.AppKey("asked", asyncio.Queue[None])


async def streamed(request: web.Request) -> web.StreamResponse:
    """Sends a piece for each one that is asked for."""
    response = web.StreamResponse()
    await response.prepare(request)
    for number in range(20):
        await response.write(b"%d\n" % number)
        await request.app[ASKED].get()
    return response


async def whole(request: web.Request) -> web.Response:
    packed = gzip.compress(BODIES[request.match_info["body"]], 1)
    response = web.Response(body=packed, headers={"content-encoding": "gzip"})
    if "chunked" in request.query:
        response.enable_chunked_encoding()
    return response


@pytest.fixture
async def server() -> AsyncIterator[TestServer]:
    app = web.Application()
    app[ASKED] = asyncio.Queue()
    app.add_routes([web.get("/streamed", streamed), web.get("/{body}", whole)])
    server = TestServer(app)
    async with server:
        yield server


async def test_a_piece_of_a_stream_is_parsed_once(
    server: TestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[bytes] = []
    parse = ResponseHandler.data_received

    def noting(protocol: ResponseHandler, data: bytes) -> None:
        parsed.append(data)
        parse(protocol, data)

    monkeypatch.setattr(ResponseHandler, "data_received", noting)
    async with (
        aiohttp.ClientSession(connector=Connector()) as session,
        session.get(server.make_url("/streamed")) as response,
    ):
        read = []
        while part := await response.content.readany():
            read.append(part)
            server.app[ASKED].put_nowait(None)

    assert b"".join(b"%d\n" % number for number in range(20)) == b"".join(read)
    assert b"" not in parsed


@pytest.mark.parametrize("query", ["", "?chunked"])
@pytest.mark.parametrize("body", BODIES)
async def test_an_answer_that_is_paused_while_nobody_reads_it_comes_whole(
    server: TestServer, body: str, query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    paused: list[ResponseHandler] = []
    pause = ResponseHandler.pause_reading

    def noting(protocol: ResponseHandler) -> None:
        paused.append(protocol)
        pause(protocol)

    monkeypatch.setattr(ResponseHandler, "pause_reading", noting)
    async with (
        aiohttp.ClientSession(connector=Connector(), read_bufsize=2**17) as session,
        asyncio.timeout(60),
    ):
        # The second one on the connection of the first.
        for _ in range(2):
            before = len(paused)
            async with session.get(server.make_url(f"/{body}{query}")) as response:
                while len(paused) == before:
                    await asyncio.sleep(0.001)
                parts = [part async for part in response.content.iter_any()]
            assert BODIES[body] == b"".join(parts)
