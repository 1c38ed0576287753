"""The Redis stream that usage events are appended to, and how far the ledger has read it.

Redis may lose events: it was emptied, replaced by another, or restarted without its last second. It is known again by
two names: one that is kept beside the stream, and one of its process.
"""

import logging
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Any, cast
from uuid import uuid4

from services.chassis import redis_keys
from services.chassis.outage import Outage
from services.chassis.redis import ERRORS, Command, Redis, server_of, text, transaction

log = logging.getLogger(__name__)

# How long Redis is not called after it failed, in seconds.
PAUSE_S = 1.0


@dataclass(frozen=True, slots=True)
class Appended:
    """An event in the stream: its id, and the name of the memory that holds it."""

    event: bytes
    ident: str
    memory: str


@dataclass(frozen=True, slots=True)
class Progress:
    """What became of appended events.

    Args:
        acknowledged: The id up to which the ledger has acknowledged everything.
        memory: The name of the memory that holds the stream now.
        restarted: Whether Redis was restarted since the last look, and so may lack its last second.

    """

    acknowledged: tuple[int, int]
    memory: str
    restarted: bool

    def is_lost(self, one: Appended) -> bool:
        """Whether Redis may have lost an event."""
        return self.restarted or one.memory != self.memory

    def is_acknowledged(self, one: Appended) -> bool:
        """Whether the ledger has an event, and it is needed no longer."""
        return not self.is_lost(one) and _order(one.ident) <= self.acknowledged


class UsageStream:
    """The stream of usage events, as its producers see it."""

    def __init__(self, redis: Redis, name: str = redis_keys.USAGE_STREAM) -> None:
        """Append to the partition of this name."""
        self._redis = redis
        self._name = name
        self._memory = redis_keys.usage_memory(name)
        self._outage = Outage(
            log,
            "Redis takes no usage events, they are spooled to disk",
            "Redis takes usage events again",
            pause_s=PAUSE_S,
        )
        self._process = ""

    @property
    def resting(self) -> bool:
        """Whether Redis failed so recently that it is not called."""
        return self._outage.resting

    @property
    def is_known(self) -> bool:
        """Whether the server of the stream has been looked at, so that another one in its place is noticed."""
        return bool(self._process)

    async def append(self, events: Sequence[bytes]) -> list[Appended] | None:
        """Append events, all or none; None when Redis does not take them."""
        if self._outage.resting:
            return None
        try:
            _, memory, *idents = await transaction(self._redis, self._appending(events))
        except ERRORS as error:
            self._outage.begin(error)
            return None
        self._outage.end()
        return [
            Appended(event, text(ident), text(memory)) for event, ident in zip(events, idents, strict=True)
        ]

    async def ping(self) -> None:
        """Return when Redis answers.

        Raises:
            redis.ERRORS: it does not.
        """
        await cast("Awaitable[Any]", (await server_of(self._redis, self._name)).ping())

    async def progress(self) -> Progress:
        """How far the ledger is, and whether Redis still holds what was appended.

        Raises:
            redis.ERRORS: Redis does not answer.
        """
        # The memory's name is read last: whatever was acknowledged before it was acknowledged in this memory.
        acknowledged = await self._acknowledged()
        await self._redis.set(self._memory, uuid4().hex, nx=True)
        memory = text(await self._redis.get(self._memory))
        # Another one also where a replica was promoted.
        server = await server_of(self._redis, self._name)
        process = text(_texts(await server.info("server"))["run_id"])
        restarted, self._process = self._process not in ("", process), process
        return Progress(acknowledged, memory, restarted)

    async def _acknowledged(self) -> tuple[int, int]:
        if not await self._redis.exists(self._name):
            return 0, 0
        # First how far it came, then what of that is not acknowledged.
        groups = await self._redis.xinfo_groups(self._name)
        group = next((one for one in map(_texts, groups) if one["name"] == redis_keys.LEDGER_GROUP), None)
        if group is None:
            return 0, 0
        delivered = _order(str(group["last-delivered-id"]))
        pending = await self._redis.xpending(self._name, redis_keys.LEDGER_GROUP)
        if not pending["pending"]:
            return delivered
        milliseconds, number = _order(text(pending["min"]))
        return min(delivered, (milliseconds, number - 1))

    def _appending(self, events: Sequence[bytes]) -> list[Command]:
        """Appends events, and says which memory holds them."""
        return [
            ("SET", self._memory, uuid4().hex, "NX"),
            ("GET", self._memory),
            *(("XADD", self._name, "*", redis_keys.EVENT_FIELD, event) for event in events),
        ]


def _texts(group: Any) -> dict[str, Any]:
    return {text(name): text(value) if isinstance(value, bytes) else value for name, value in group.items()}


def _order(ident: str) -> tuple[int, int]:
    milliseconds, _, number = ident.partition("-")
    return int(milliseconds), int(number or 0)
