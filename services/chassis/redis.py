"""Redis, with the deadlines its client does not have by default, a client that can be cancelled, and plain answers."""

import asyncio
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar
from urllib.parse import urlsplit

import hiredis
import redis.asyncio as redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.maint_notifications import MaintNotificationsConfig

__all__ = [
    "ERRORS",
    "Command",
    "Entry",
    "Redis",
    "check_url",
    "checked",
    "connect",
    "entries",
    "exchange",
    "text",
]

Redis = redis.Redis
T = TypeVar("T")
# An entry of a stream: its id, and its fields as they were appended.
Entry: TypeAlias = tuple[str, Mapping[bytes, bytes]]
# The words of a command.
Command: TypeAlias = tuple[str | bytes | int | float, ...]

# What a call may raise when Redis is gone, slow or restarting.
ERRORS = (RedisError, OSError, TimeoutError)


def check_url(url: str) -> str:
    """The URL itself, or a ValueError that does not repeat its password."""
    if urlsplit(url).scheme not in ("redis", "rediss", "unix"):
        raise ValueError("REDIS_URL: expected redis://, rediss:// or unix://")
    return url


def connect(url: str, *, timeout_s: float = 0.1, connections: int = 64) -> Redis:
    """A client whose every command ends within `timeout_s`, connecting included.

    Commands are not retried: the caller knows whether a second try is right. A blocking read needs a client
    of its own with a longer deadline.
    """
    client: Redis = redis.from_url(
        check_url(url),
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        socket_keepalive=True,
        max_connections=connections,
        retry=Retry(NoBackoff(), 0),
        protocol=3,
        # With notifications of maintenance the client no longer looks whether a pooled connection was closed meanwhile,
        # so that each one fails a command after a restart of the server.
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
    )
    pool = client.connection_pool
    pool.connection_class = type("Connection", (_Bounded, pool.connection_class), {})
    return client


async def exchange(client: Redis, commands: Sequence[Command]) -> list[Any]:
    """The answers to commands that travel together, as they come; an exception among them is that command's.

    The client's own pipelines do the same with four times the work, which the commands of each request would notice.

    Args:
        client: One of `connect`.
        commands: Each with its arguments.

    Raises:
        ERRORS: Redis did not answer within the client's deadline; which of the commands it has run is not known.
    """
    pool = client.connection_pool
    connection = pool.get_available_connection()  # type: ignore[no-untyped-call]
    try:
        await pool.ensure_connection(connection)
        answers: list[Any] = await connection.exchange(commands)
        return answers
    finally:
        await pool.release(connection)


def checked(answers: list[Any]) -> list[Any]:
    """The answers to commands that travelled together.

    Raises:
        RedisError: the first of them that is one.
    """
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


def text(value: Any) -> str:
    """What Redis answers as a name: bytes or text, by command and protocol."""
    return value.decode() if isinstance(value, bytes) else str(value)


def entries(answer: Any) -> list[Entry]:
    """The entries that XREAD or XREADGROUP found in any stream, in order; nothing when it found none in time."""
    if not answer:
        return []
    streams = answer.values() if isinstance(answer, dict) else [found for _, found in answer]
    # RESP3 wraps the entries of a stream in one more list.
    flat = [
        entry for found in streams for one in found for entry in (one if isinstance(one, list) else [one])
    ]
    return [(text(entry_id), fields) for entry_id, fields in flat]


class _Bounded(AbstractConnection):
    """A connection whose writes and exchanges have one deadline each, and pass on each cancellation.

    The client writes within `asyncio.wait_for`, which makes a task of each write, and until Python 3.12 loses a
    cancellation that comes as the write ends (github.com/python/cpython/issues/86296): what awaits the cancelled task
    then never ends. Where it knows of no deadline it writes without, and closes the connection when it is cancelled.
    """

    async def send_packed_command(
        self, command: bytes | str | Iterable[bytes], check_health: bool = True
    ) -> None:
        await self._bounded(super().send_packed_command(command, check_health))

    async def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """As the function of this name."""
        return await self._bounded(self._exchange(commands))

    async def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        # Its stubs know commands of one word.
        packed = b"".join(map(hiredis.pack_command, commands))  # type: ignore[arg-type]
        await super().send_packed_command(packed)
        return [await self._answer() for _ in commands]

    async def _answer(self) -> Any:
        try:
            return await self.read_response()
        except ResponseError as error:
            return error

    async def _bounded(self, work: Coroutine[Any, Any, T]) -> T:
        """Work on the connection that has one deadline, in place of one for each step."""
        limit_s, self.socket_timeout = self.socket_timeout, None
        try:
            async with asyncio.timeout(limit_s):
                return await work
        finally:
            self.socket_timeout = limit_s
