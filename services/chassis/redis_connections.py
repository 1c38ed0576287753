"""Connections to one Redis server, which can be cancelled and have the deadlines its client lacks by default."""

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, TypeAlias, TypeVar

import hiredis
import redis.asyncio as redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ReadOnlyError, RedisError
from redis.maint_notifications import MaintNotificationsConfig

__all__ = ["ERRORS", "Command", "bound", "exchange", "options"]

T = TypeVar("T")
# The words of a command.
Command: TypeAlias = tuple[str | bytes | int | float, ...]

# What a call may raise when Redis is gone, slow or restarting.
ERRORS = (RedisError, OSError, TimeoutError)


def options(timeout_s: float, connections: int) -> dict[str, Any]:
    """What a client is made with, so that every command ends within `timeout_s`, connecting included."""
    return {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "socket_keepalive": True,
        "max_connections": connections,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 3,
        # With notifications of maintenance the client no longer looks whether a pooled connection was closed meanwhile,
        # so that each one fails a command after a restart of the server.
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }


def bound(pool: redis.ConnectionPool) -> None:
    """Give the connections of a pool one deadline for each write and exchange."""
    pool.connection_class = type("Connection", (_Bounded, pool.connection_class), {})


async def exchange(client: redis.Redis, commands: Sequence[Command]) -> list[Any]:
    """The answers of one server to commands that travel together, as they come; an exception is that command's.

    The client's own pipelines do the same with four times the work, which the commands of each request would notice.

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
        try:
            # The parser gives a command's error as its answer.
            answers = [await self._parser.read_response() for _ in commands]  # type: ignore[attr-defined]
        except BaseException:
            # The answers that are not read must not be taken for those to other commands.
            await self.disconnect(nowait=True)
            raise
        if any(isinstance(answer, ReadOnlyError) for answer in answers):
            # A server that was demoted: the next connection is to the new primary.
            await self.disconnect(nowait=True)
        return answers

    async def _bounded(self, work: Coroutine[Any, Any, T]) -> T:
        """Work on the connection that has one deadline, in place of one for each step."""
        limit_s, self.socket_timeout = self.socket_timeout, None
        try:
            async with asyncio.timeout(limit_s):
                return await work
        finally:
            self.socket_timeout = limit_s
