"""Redis, with the deadlines its client does not have by default, a client that can be cancelled, and plain answers."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import redis.asyncio as redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.maint_notifications import MaintNotificationsConfig

__all__ = ["ERRORS", "Entry", "Redis", "check_url", "connect", "entries", "text"]

Redis = redis.Redis
# An entry of a stream: its id, and its fields as they were appended.
Entry: TypeAlias = tuple[str, Mapping[bytes, bytes]]

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
    pool.connection_class = type("Connection", (_Cancellable, pool.connection_class), {})
    return client


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


class _Cancellable(AbstractConnection):
    """A connection that passes on each cancellation.

    The client writes within `asyncio.wait_for`, which until Python 3.12 loses a cancellation that comes as the
    write ends (github.com/python/cpython/issues/86296): what awaits the cancelled task then never ends.
    """

    async def send_packed_command(
        self, command: bytes | str | Iterable[bytes], check_health: bool = True
    ) -> None:
        task = asyncio.current_task()
        before = task.cancelling() if task else 0
        await super().send_packed_command(command, check_health)
        if task and task.cancelling() > before:
            # The answer will never be read.
            await self.disconnect(nowait=True)
            raise asyncio.CancelledError
