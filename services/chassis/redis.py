"""Redis, with the deadlines its client does not have by default, a client that can be cancelled, and plain answers.

One server, a cluster, or servers that Sentinel watches: by the address, and with one interface.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import redis.asyncio as redis
from redis.exceptions import AskError, ClusterDownError, ReadOnlyError, ResponseError, TryAgainError

from services.chassis import redis_address, redis_connections
from services.chassis.redis_address import Kind, Node
from services.chassis.redis_cluster import Cluster
from services.chassis.redis_connections import ERRORS, Command
from services.chassis.redis_sentinel import Watched

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
    "is_cluster",
    "is_passing",
    "server_of",
    "servers",
    "text",
    "transaction",
]

Redis = redis.Redis
# An entry of a stream: its id, and its fields as they were appended.
Entry: TypeAlias = tuple[str, Mapping[bytes, bytes]]
# What a server answers that does not serve a key at the moment.
PASSING = (AskError, ClusterDownError, ReadOnlyError, TryAgainError)
# The same of a primary that lacks replicas (`min-replicas-to-write`); the client has no type for it.
NO_REPLICAS = "NOREPLICAS"


def check_url(url: str) -> str:
    """The URL itself, or a ValueError that does not repeat its password."""
    redis_address.parse(url)
    return url


def connect(url: str, *, timeout_s: float = 0.1, connections: int = 64) -> Redis:
    """A client whose every command ends within `timeout_s`, connecting included.

    Commands are not retried: the caller knows whether a second try is right. A blocking read needs a client
    of its own with a longer deadline.
    """
    address = redis_address.parse(url)
    options = redis_connections.options(timeout_s, connections)

    def single(url: str) -> Redis:
        # A Unix socket has no peer that vanishes, and its connections do not know the option.
        known = {name: value for name, value in options.items() if name != "socket_keepalive"}
        client: Redis = redis.from_url(url, **(known if url.startswith("unix:") else options))
        redis_connections.bound(client.connection_pool)
        return client

    def of_cluster(node: Node) -> Redis:
        return single(address.url_of(node))

    if address.kind == Kind.CLUSTER:
        return Cluster(address.nodes, of_cluster)
    if address.kind == Kind.SENTINEL:
        return Watched(address, options)
    return single(url)


def is_cluster(client: Redis) -> bool:
    """Whether keys lie in slots at several servers, so that a script or a transaction reaches one slot only."""
    return isinstance(client, Cluster)


async def server_of(client: Redis, key: str) -> Redis:
    """The server that has a key, for what is asked of one server.

    Raises:
        ERRORS: a cluster does not say.
    """
    return await client.node(key) if isinstance(client, Cluster) else client


async def servers(client: Redis) -> list[Redis]:
    """All servers that have keys, for what is asked of each of them.

    Raises:
        ERRORS: a cluster does not say.
    """
    return await client.primaries() if isinstance(client, Cluster) else [client]


async def exchange(client: Redis, commands: Sequence[Command]) -> list[Any]:
    """The answers to commands that travel together, as they come; an exception among them is that command's.

    Args:
        client: One of `connect`. In a cluster the commands go to the servers that have their keys, all at once; the
            error of a server that does not answer is the answer to its commands while others answer theirs.
        commands: Each with its arguments.

    Raises:
        ERRORS: Redis did not answer within the client's deadline; which of the commands it has run is not known.
    """
    if isinstance(client, Cluster):
        return await client.exchange(commands)
    return await redis_connections.exchange(client, commands)


async def transaction(client: Redis, commands: Sequence[Command]) -> list[Any]:
    """The answers to commands that are run together or not at all; their keys are in one slot of a cluster.

    Raises:
        ERRORS: Redis did not answer within the client's deadline, or refused one of them.
    """
    *queued, answers = await exchange(client, [("MULTI",), *commands, ("EXEC",)])
    # What a command is refused with is its own answer, and what it fails with while it runs is among those of EXEC.
    checked(queued)
    return checked(answers if isinstance(answers, list) else [answers])


def checked(answers: list[Any]) -> list[Any]:
    """The answers to commands that travelled together.

    Raises:
        RedisError: the first of them that is one.
    """
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


def is_passing(answer: Any) -> bool:
    """Whether an answer is the error of a server that does not answer or serve the key now: the same again may do."""
    if isinstance(answer, ResponseError):
        return isinstance(answer, PASSING) or NO_REPLICAS in str(answer)
    return isinstance(answer, ERRORS)


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
