"""The Redis client heeds its deadlines, and those who cancel it."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis.asyncio as redis_client
from redis.exceptions import ReadOnlyError

from services.chassis import redis
from services.local.valkey import Valkey


async def test_a_cancellation_takes_effect_at_whatever_moment_it_comes(valkey: str) -> None:
    async with redis.connect(valkey, timeout_s=2) as client:
        await client.ping()

        async def forever() -> None:
            while True:
                await client.ping()

        for turns in range(60):
            task = asyncio.create_task(forever())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            done, _ = await asyncio.wait([task], timeout=30)
            task.cancel()
            assert done, f"a cancellation after {turns} turns of the loop was lost"
        assert await client.echo("still usable") == b"still usable"


async def test_an_exchange_answers_in_order_and_names_what_failed(valkey: str) -> None:
    async with redis.connect(valkey, timeout_s=2) as client:
        set_, failed, got = await redis.exchange(
            client, [("SET", "exchanged", 7), ("LPUSH", "exchanged", b"x"), ("GET", "exchanged")]
        )
        assert (b"OK", b"7") == (set_, got)
        assert isinstance(failed, redis.ERRORS)


async def test_the_connection_to_a_demoted_primary_is_not_used_again(
    make_valkey: Callable[[], Valkey],
) -> None:
    server = make_valkey()
    await server.start()
    async with redis.connect(server.url, timeout_s=10) as client:
        [before] = await redis.exchange(client, [("CLIENT", "ID")])
        [same] = await redis.exchange(client, [("CLIENT", "ID")])
        await redis.exchange(client, [("REPLICAOF", "127.0.0.1", "1")])

        [refused] = await redis.exchange(client, [("SET", "a", "b")])
        [after] = await redis.exchange(client, [("CLIENT", "ID")])

    assert isinstance(refused, ReadOnlyError)
    assert before == same != after


async def test_a_cancelled_exchange_leaves_no_answer_to_the_next_one(valkey: str) -> None:
    async with redis.connect(valkey, timeout_s=2) as client:
        await client.ping()
        for turns in range(20):
            task = asyncio.create_task(redis.exchange(client, [("ECHO", "cancelled")] * 3))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task], timeout=30)
            assert [b"next"] == await redis.exchange(client, [("ECHO", "next")])


async def test_a_server_that_does_not_answer_costs_no_more_than_the_deadline() -> None:
    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await hang_up.wait()
        writer.close()

    hang_up = asyncio.Event()
    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with redis.connect(f"redis://127.0.0.1:{port}", timeout_s=0.1) as client:
            began = time.monotonic()
            with pytest.raises(redis.ERRORS):
                await client.ping()
            with pytest.raises(redis.ERRORS):
                await redis.exchange(client, [("PING",)])
            assert time.monotonic() - began < 5
        hang_up.set()


async def test_entries_are_the_same_whatever_protocol_the_client_speaks(valkey: str) -> None:
    found = []
    for protocol in (2, 3):
        async with redis_client.from_url(valkey, protocol=protocol) as client:
            if protocol == 2:
                written = [await client.xadd("stream", {"n": n}) for n in range(3)]
            answer = await client.xread({"stream": "0-0"})
            found.append(redis.entries(answer))
            assert [] == redis.entries(await client.xread({"stream": "$"}))

    assert found[0] == found[1]
    assert [(redis.text(ident), {b"n": str(n).encode()}) for n, ident in enumerate(written)] == found[0]


async def test_connections_that_the_server_closed_meanwhile_fail_no_command(valkey: str) -> None:
    async with redis.connect(valkey, timeout_s=5) as client, redis.connect(valkey, timeout_s=5) as other:
        # Several connections in the pool, as after a burst.
        await asyncio.gather(*(client.ping() for _ in range(5)))
        await other.client_kill_filter(_type="normal", skipme=True)
        # The loop reads that they were closed together with this answer.
        await other.ping()

        for _ in range(5):
            assert await client.ping()


async def test_a_server_behind_a_unix_socket_is_spoken_to(tmp_path: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Whatever a connection begins with is taken; the last line of a PING is its name.
        while line := await reader.readline():
            if line.startswith(b"*"):
                writer.write(b"+PONG\r\n")
        writer.close()

    async with await asyncio.start_unix_server(answer, tmp_path / "valkey"):
        async with redis.connect(f"unix://{tmp_path}/valkey?protocol=2", timeout_s=5) as client:
            assert [b"PONG"] == await redis.exchange(client, [("PING",)])
