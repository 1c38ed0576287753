"""Redis, with the deadlines its client does not have by default, and a client that can be cancelled."""

import asyncio
from collections.abc import Iterable
from urllib.parse import urlsplit

import redis.asyncio as redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

__all__ = ["ERRORS", "Redis", "check_url", "connect"]

Redis = redis.Redis

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
    )
    pool = client.connection_pool
    pool.connection_class = type("Connection", (_Cancellable, pool.connection_class), {})
    return client


class _Cancellable(AbstractConnection):
    """A connection that passes on each cancellation.

    The client writes within `asyncio.wait_for`, which until Python 3.12 loses a cancellation that comes as the
    write ends (github.com/python/cpython/issues/86296): whoever waits for the cancelled task then waits for ever.
    """

    async def send_packed_command(
        self, command: bytes | str | Iterable[bytes], check_health: bool = True
    ) -> None:
        task = asyncio.current_task()
        asked = task.cancelling() if task else 0
        await super().send_packed_command(command, check_health)
        if task and task.cancelling() > asked:
            # Nobody will read the answer.
            await self.disconnect(nowait=True)
            raise asyncio.CancelledError
