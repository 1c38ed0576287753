"""More connections than a process may have files, which say nothing, begin a request, or send a body for ever.

python -m tests.attacks.slow_connections
"""

import asyncio
import resource
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from urllib.parse import urlsplit

import httpx

from tests.attacks import target as targets
from tests.attacks.target import Target

NAME = "slow and silent connections"
SOCKETS = 1300
# Files of the attacker's process that are no sockets of his.
OTHER_FILES = 200
# An address of loopback that is not the honest client's.
ELSEWHERE = "127.0.0.2"
# Between two pieces of a body that does not end, in seconds.
DRIP_S = 0.5
CHAT = {"model": "small", "messages": [{"role": "user", "content": "hi"}]}
UNFINISHED = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"
ENDLESS = UNFINISHED + b"transfer-encoding: chunked\r\n\r\n"


async def attack(target: Target, *, seconds: float) -> list[str]:
    """Open them in turns from a strange address and from the honest client's, while that one goes on."""
    count = min(SOCKETS, _allowed_files() - OTHER_FILES)
    held = []
    key = await target.make_key("honest")
    for name, first in (("silent", b""), ("unfinished", UNFINISHED), ("endless", ENDLESS)):
        for address in (ELSEWHERE, "127.0.0.1"):
            async with _open(target, count, address, first) as sockets:
                answered = await _goes_on(target, key, seconds / 6)
                left = sum(not reader.at_eof() for reader, _ in sockets)
            held.append(
                f"{count} {name} connections from {address} (of which {left} were left at the end): "
                f"{answered} of {answered} honest requests answered"
            )
    await _early_answers_end(target)
    return [*held, "a connection with an endless body is closed after its early answer"]


def _allowed_files() -> int:
    """How many files this process may open, as many as it can get."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return SOCKETS + OTHER_FILES if hard == resource.RLIM_INFINITY else hard


@asynccontextmanager
async def _open(
    target: Target, count: int, address: str, first: bytes
) -> AsyncIterator[list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]:
    """So many connections from an address, each of which has sent the same."""
    host, port = _gateway(target)
    async with AsyncExitStack() as ends:
        sockets = []
        for _ in range(count):
            reader, writer = await asyncio.open_connection(host, port, local_addr=(address, 0))
            ends.callback(writer.close)
            with suppress(ConnectionError):
                writer.write(first)
            sockets.append((reader, writer))
        yield sockets


async def _goes_on(target: Target, key: str, seconds: float) -> int:
    """Ask on a connection of its own each time; how often that was."""
    ends = asyncio.get_running_loop().time() + seconds
    answered = 0
    while answered < 5 or asyncio.get_running_loop().time() < ends:
        async with httpx.AsyncClient(trust_env=False, timeout=20) as http:
            answer = await http.post(
                f"{target.rest}/v1/chat/completions", json=CHAT, headers={"authorization": f"Bearer {key}"}
            )
        assert 200 == answer.status_code, answer.text
        answered += 1
        await asyncio.sleep(0.05)
    return answered


async def _early_answers_end(target: Target) -> None:
    host, port = _gateway(target)

    async def one() -> bytes:
        reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(ENDLESS)
            dripping = asyncio.create_task(_every(DRIP_S, lambda: _send(writer, b"1\r\na\r\n")))
            try:
                return await asyncio.wait_for(reader.read(), 15)
            except ConnectionResetError:
                # It made way for another connection before its answer was read.
                return b""
            finally:
                dripping.cancel()
        finally:
            writer.close()

    answers = list(filter(None, await asyncio.gather(*(one() for _ in range(20)))))
    assert answers
    assert all(answer.startswith(b"HTTP/1.1 401 ") for answer in answers), answers


async def _send(writer: asyncio.StreamWriter, piece: bytes) -> None:
    writer.write(piece)
    await writer.drain()


async def _every(seconds: float, act: Callable[[], Awaitable[None]]) -> None:
    with suppress(ConnectionError):
        while True:
            await act()
            await asyncio.sleep(seconds)


def _gateway(target: Target) -> tuple[str, int]:
    parts = urlsplit(target.rest)
    assert parts.hostname
    assert parts.port
    return parts.hostname, parts.port


if __name__ == "__main__":
    targets.alone(NAME, attack)
