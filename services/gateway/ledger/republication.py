"""What was published in Redis of late, published again where Redis may have lost it.

A replica that is promoted, and a server that restarts, may lack its predecessor's last moment. A settlement that was
kept and a publication that was lost would count an attempt twice in its budget, for good: the event is acknowledged,
and nothing else would publish it. Publishing the same twice changes nothing.
"""

import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from services.chassis import redis
from services.gateway.limits import scripts

__all__ = ["Call", "Publications"]

# A partition, and what publish.lua is given for it.
Call: TypeAlias = tuple[str, Mapping[str, Any]]
# For how long publications are kept, in seconds: servers write to disk every second, and replicas follow in less.
KEPT_S = 30.0
# What is published again in one round trip.
BATCH = 100


class Publications:
    """Publishes sums and attempts, and does so again when a server is another one than before."""

    def __init__(self, client: redis.Redis) -> None:
        self._redis = client
        self._kept: deque[tuple[float, Call]] = deque()
        # The runs of the servers that were there when they were last looked at.
        self._runs: set[str] = set()

    async def publish(self, calls: Sequence[Call]) -> None:
        """Publish what was written.

        Raises:
            redis.ERRORS: some of it may not be published; the same again publishes it.
        """
        now = time.monotonic()
        self._kept.extend((now, call) for call in calls)
        self._forget(now - KEPT_S)
        await self._send(calls)

    async def repeat(self) -> None:
        """Publish again what is kept, if a server was restarted or replaced since the last look.

        Raises:
            redis.ERRORS: Redis does not answer; the next look finds it out.
        """
        runs = set()
        for server in await redis.servers(self._redis):
            facts = await server.info("server")
            runs.add(redis.text(facts["run_id"]))
        if self._runs and runs - self._runs:
            self._forget(time.monotonic() - KEPT_S)
            calls = [call for _, call in self._kept]
            for first in range(0, len(calls), BATCH):
                await self._send(calls[first : first + BATCH])
        self._runs = runs

    def _forget(self, before: float) -> None:
        while self._kept and self._kept[0][0] < before:
            self._kept.popleft()

    async def _send(self, calls: Sequence[Call]) -> None:
        redis.checked(await scripts.run_all(scripts.PUBLISH, self._redis, calls))
