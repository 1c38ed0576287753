"""A cluster of Redis servers behind the interface of one: each command goes to the server that has its key.

redis-py has a client for clusters, with deadlines and repetitions of its own; this one has those of
`redis_connections`, and sends what travels together to each server together. Which server has which of the 16,384
slots is asked of the cluster, and asked again when a server says otherwise or does not answer: a replica may have been
promoted meanwhile.
"""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import redis.asyncio as redis
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import AskError, ClusterDownError, ClusterError, MovedError

from services.chassis.redis_address import Node
from services.chassis.redis_connections import ERRORS, Command, exchange

__all__ = ["Cluster"]

# The slots are not asked for more often, in seconds, unless nothing is known.
EVERY_S = 0.2
# Commands that any server may answer, and those that say something of one server only.
OF_ANY = frozenset((b"PING", b"TIME", b"ECHO"))
OF_ONE = frozenset((b"DBSIZE", b"INFO", b"KEYS", b"SCAN", b"SCRIPT LOAD"))
# Commands whose first key does not stand behind their name.
READS = frozenset((b"XREAD", b"XREADGROUP"))
SCRIPTS = frozenset((b"EVAL", b"EVALSHA"))


class Cluster(redis.Redis):
    """A client of all servers of a cluster."""

    def __init__(self, seeds: Sequence[Node], make: Callable[[Node], redis.Redis]) -> None:
        """Find the cluster through any of the `seeds`; nothing is called before the first command.

        Args:
            seeds: Some of its servers.
            make: Makes the client of one server.
        """
        self._make = make
        self._seeds = tuple(seeds)
        self._nodes: dict[Node, redis.Redis] = {}
        # The server of each slot; None where none is known.
        self._owners: list[Node | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        self._asking: asyncio.Task[None] | None = None
        self._asked_at = -EVERY_S
        super().__init__(connection_pool=self._client(self._seeds[0]).connection_pool)

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Close the connections to all servers."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])
        for client in self._nodes.values():
            await client.aclose(close_connection_pool)

    async def node(self, key: str) -> redis.Redis:
        """The client of the server that has a key.

        Raises:
            ERRORS: the cluster does not say, or no server has it.
        """
        return self._client(await self._owner(key_slot(key.encode())))

    async def primaries(self) -> list[redis.Redis]:
        """The clients of all servers that have keys.

        Raises:
            ERRORS: the cluster does not say.
        """
        await self._owner(0)
        return [self._client(node) for node in sorted({node for node in self._owners if node is not None})]

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run one command where its key is.

        Raises:
            ERRORS: as a single server's client; a command is sent again only where a server refused it as not its own.
        """
        slot = _slot(args)
        client = self._client(await self._owner(slot))
        try:
            return await client.execute_command(*args, **options)  # type: ignore[no-untyped-call]
        except MovedError as error:
            return await self._moved(error).execute_command(*args, **options)  # type: ignore[no-untyped-call]
        except AskError as error:
            async with self._client((error.host, error.port)).pipeline(transaction=False) as pipe:
                pipe.execute_command("ASKING")
                pipe.execute_command(*args, **options)
                return (await pipe.execute())[1]
        except ERRORS:
            self._doubt()
            raise

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Any:
        """Not here: a pipeline of redis-py is of one server."""
        raise NotImplementedError(
            "a cluster has no pipelines: use services.chassis.redis.exchange or transaction"
        )

    async def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """As `redis_connections.exchange`, of as many servers as it takes, all at once.

        A transaction, which begins with MULTI, goes to one server. Where some servers do not answer, their errors are
        the answers to their commands.

        Raises:
            ERRORS: all commands are for one server, and it did not answer; or the cluster does not say whose they are.
        """
        if commands[0][0] == "MULTI":
            return await self._transaction(commands)
        answers: list[Any] = [None] * len(commands)
        places: dict[Node, list[int]] = defaultdict(list)
        for place, command in enumerate(commands):
            try:
                places[await self._owner(_slot(command))].append(place)
            except ClusterDownError as error:
                # No server has this slot; others may have the others.
                answers[place] = error
        if len(places) == 1 and len(places[node := next(iter(places))]) == len(commands):
            return await self._exchange(node, commands)
        parts = await asyncio.gather(
            *(self._exchange(node, [commands[at] for at in ats]) for node, ats in places.items()),
            return_exceptions=True,
        )
        for ats, part in zip(places.values(), parts, strict=True):
            if isinstance(part, BaseException) and not isinstance(part, ERRORS):
                raise part
            for number, at in enumerate(ats):
                answers[at] = part if isinstance(part, BaseException) else part[number]
        return answers

    async def _exchange(self, node: Node, commands: Sequence[Command]) -> list[Any]:
        try:
            answers = await exchange(self._client(node), commands)
        except ERRORS:
            self._doubt()
            raise
        for place, answer in enumerate(answers):
            if isinstance(answer, AskError):
                answers[place] = await self._redirected(answer, commands[place])
            elif isinstance(answer, ClusterError):
                self._doubt()
        return answers

    async def _redirected(self, error: AskError, command: Command) -> Any:
        """The answer of the server that another one has named."""
        try:
            if isinstance(error, MovedError):
                return (await exchange(self._moved(error), [command]))[0]
            return (await exchange(self._client((error.host, error.port)), [("ASKING",), command]))[1]
        except ERRORS as failed:
            self._doubt()
            return failed

    async def _transaction(self, commands: Sequence[Command]) -> list[Any]:
        node = await self._owner(_slot(commands[1]))
        try:
            answers = await exchange(self._client(node), commands)
            moved = next((answer for answer in answers if isinstance(answer, MovedError)), None)
            if moved is not None:
                # None of it was run.
                answers = await exchange(self._moved(moved), commands)
        except ERRORS:
            self._doubt()
            raise
        return answers

    def _client(self, node: Node) -> redis.Redis:
        if node not in self._nodes:
            self._nodes[node] = self._make(node)
        return self._nodes[node]

    async def _owner(self, slot: int | None) -> Node:
        if slot is None:
            slot = random.randrange(REDIS_CLUSTER_HASH_SLOTS)
        if self._owners[slot] is None:
            # For all who ask meanwhile, and whoever of them leaves.
            await asyncio.shield(self._ask())
        node = self._owners[slot]
        if node is None:
            raise ClusterDownError(f"CLUSTERDOWN no server of the cluster has slot {slot}")
        return node

    def _moved(self, error: MovedError) -> redis.Redis:
        """The client of the server that has the slot now; others may have moved with it."""
        node = (error.host, error.port)
        self._owners[error.slot_id] = node
        self._doubt()
        return self._client(node)

    def _doubt(self) -> None:
        """Ask again which server has which slot, in the background: after an error it may be another one."""
        if time.monotonic() - self._asked_at >= EVERY_S:
            self._ask()

    def _ask(self) -> asyncio.Task[None]:
        if self._asking is None or self._asking.done():
            self._asked_at = time.monotonic()
            self._asking = asyncio.create_task(self._learn())
            # An error is that of whoever waits; where nobody does, the next command finds it out.
            self._asking.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._asking

    async def _learn(self) -> None:
        known = list({node for node in self._owners if node is not None})
        random.shuffle(known)
        failure: BaseException | None = None
        for node in dict.fromkeys((*known, *self._seeds)):
            try:
                (answer,) = await exchange(self._client(node), [("CLUSTER", "SLOTS")])
            except ERRORS as error:
                failure = error
                continue
            if isinstance(answer, Exception):
                failure = answer
            elif answer:
                self._owners = _owners(answer, node)
                return
        raise failure or ClusterDownError("CLUSTERDOWN no server of the cluster has slots")


def _owners(ranges: Sequence[Sequence[Any]], asked: Node) -> list[Node | None]:
    """The server of each slot, as the answer to CLUSTER SLOTS has it."""
    owners: list[Node | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
    for first, last, (host, port, *_), *_ in ranges:
        # A server that does not know its own address is where it was asked.
        node = (host.decode() if host else asked[0], int(port))
        owners[first : last + 1] = [node] * (last + 1 - first)
    return owners


def _slot(command: Sequence[Any]) -> int | None:
    """The slot of a command's keys, which are all in one; None for a command that any server may answer."""
    name = _bytes(command[0]).upper()
    if name in OF_ANY:
        return None
    if name in OF_ONE:
        raise ValueError(f"{name.decode()} is asked of one server of a cluster")
    if name in READS:
        place = [_bytes(word).upper() for word in command].index(b"STREAMS") + 1
    elif name in SCRIPTS:
        place = 3
        if int(command[2]) == 0:
            raise ValueError(
                "a script names at least one of its keys, so that it finds its server of a cluster"
            )
    else:
        place = 1
    return key_slot(_bytes(command[place]))


def _bytes(word: Any) -> bytes:
    return word if isinstance(word, bytes) else str(word).encode()
