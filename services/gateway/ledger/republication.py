"""What was published in Redis of late, published again where Redis may have lost it.

A replica that is promoted, and a server that restarts, may lack its predecessor's last moment. A settlement that was
kept and a publication that was lost would count an attempt twice in its budget, for good: the event is acknowledged,
and nothing else would publish it. Publishing the same twice changes nothing.
"""

import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from services.chassis import redis
from services.gateway.limits import scripts

__all__ = ["Call", "Publications"]

# A partition, and what publish.lua is given for it: sums and attempts.
Call: TypeAlias = tuple[str, Mapping[str, Any]]
# A server that was there so long after a publication, in seconds, has it on disk, as its replicas have it.
KEPT_S = 30.0
# The most sums and attempts that are kept, about 200 bytes each; the oldest make room.
MOST = 300_000
# What is published again in one round trip.
BATCH = 100


@dataclass(slots=True)
class _Kept:
    """A call, and when it was published last."""

    call: Call
    at: float

    @property
    def size(self) -> int:
        """How many sums and attempts."""
        return len(self.call[1]["sums"]) + len(self.call[1]["attempts"])


class Publications:
    """Publishes sums and attempts, and does so again when a server is another one than before."""

    def __init__(self, client: redis.Redis) -> None:
        self._redis = client
        self._kept: deque[_Kept] = deque()
        # Sums and attempts among them.
        self._size = 0
        # The runs of the servers that were there when they were last looked at.
        self._runs: set[str] = set()

    async def publish(self, calls: Sequence[Call]) -> None:
        """Publish what was written.

        Raises:
            redis.ERRORS: some of it may not be published; the same again publishes it.
        """
        await self._send(calls)
        # Only now: what failed is published again by who called, as often as it takes.
        now = time.monotonic()
        for call in calls:
            self._kept.append(one := _Kept(call, now))
            self._size += one.size
        while self._size > MOST:
            self._forget_oldest()

    async def repeat(self) -> None:
        """Publish again what is kept, if a server was restarted or replaced since the last look.

        What the servers have had for long is forgotten only here, when all of them are still the same: however long
        one is away, what its replica may lack is kept.

        Raises:
            redis.ERRORS: Redis does not answer; the next look finds it out.
        """
        looked = time.monotonic()
        runs = set()
        for server in await redis.servers(self._redis):
            facts = await server.info("server")
            runs.add(redis.text(facts["run_id"]))
        if self._runs and runs - self._runs:
            again = list(self._kept)
            for first in range(0, len(again), BATCH):
                await self._send([one.call for one in again[first : first + BATCH]])
            now = time.monotonic()
            for one in again:
                one.at = now
        elif runs == self._runs:
            while self._kept and self._kept[0].at < looked - KEPT_S:
                self._forget_oldest()
        self._runs = runs

    def _forget_oldest(self) -> None:
        self._size -= self._kept.popleft().size

    async def _send(self, calls: Sequence[Call]) -> None:
        redis.checked(await scripts.run_all(scripts.PUBLISH, self._redis, calls))
