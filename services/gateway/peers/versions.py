"""Which version of the configuration each gateway process serves: published to Redis by each, read by any."""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from services.chassis import redis, redis_keys
from services.chassis.errors import Unavailable
from services.chassis.outage import Outage

log = logging.getLogger(__name__)

# Between two publications, in seconds; one that has published nothing for so long is gone.
EVERY_S = 5.0
GONE_S = 20.0
# Characters of the reason why a file is refused.
LONGEST = 500


@dataclass(frozen=True, slots=True)
class Served:
    """What a process serves, and why it refuses the files as they are now; empty when it does not."""

    version: str
    refuses: str = ""


class PublishedVersions:
    """The versions of all gateway processes."""

    def __init__(
        self, client: redis.Redis, served: Callable[[], Served], *, every_s: float = EVERY_S
    ) -> None:
        """Publish what `served` says, every `every_s` seconds."""
        self._redis = client
        self._served = served
        self._every_s = every_s
        self._replica = f"{socket.gethostname()}/{os.getpid()}"
        self._since = time.time()
        self._version = served().version

    async def publishing(self) -> None:
        """Publish until cancelled."""
        outage = Outage(
            log,
            "the configuration's version is not published",
            "the configuration's version is published again",
        )
        cleaned = False
        while True:
            try:
                await self._publish()
                if not cleaned:
                    # Whoever starts deletes what those before it left, so that they do not add up.
                    await self._entries()
                    cleaned = True
                outage.end()
            except redis.ERRORS as error:
                outage.begin(error)
            await asyncio.sleep(self._every_s)

    async def read(self) -> list[dict[str, Any]]:
        """What each process that is alive serves, by its name.

        Raises:
            Unavailable: Redis does not answer.
        """
        try:
            entries = await self._entries()
        except redis.ERRORS as error:
            raise Unavailable(
                "which versions are served cannot be asked at the moment",
                reason="REDIS_UNAVAILABLE",
                retry_after_s=1,
            ) from error
        return [
            {
                "replica": name,
                "version": entry["version"],
                "since": datetime.fromtimestamp(entry["since"], UTC).isoformat(timespec="seconds"),
                "refuses": entry["refuses"] or None,
            }
            for name, entry in sorted(entries.items())
        ]

    async def _entries(self) -> dict[str, Any]:
        """What processes that are alive have published, by their names; the others' is deleted."""
        found = await self._redis.hgetall(redis_keys.CONFIGURATIONS)
        entries = {redis.text(name): orjson.loads(entry) for name, entry in found.items()}
        earliest = time.time() - GONE_S
        gone = [name for name, entry in entries.items() if entry["at"] < earliest]
        if gone:
            await self._redis.hdel(redis_keys.CONFIGURATIONS, *gone)
        return {name: entry for name, entry in entries.items() if name not in gone}

    async def _publish(self) -> None:
        served = self._served()
        if served.version != self._version:
            self._version, self._since = served.version, time.time()
        entry = {
            "version": served.version,
            "since": self._since,
            "refuses": served.refuses[:LONGEST],
            "at": time.time(),
        }
        await self._redis.hset(redis_keys.CONFIGURATIONS, self._replica, orjson.dumps(entry))
