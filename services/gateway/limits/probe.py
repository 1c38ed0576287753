"""Whether Redis can count at the moment."""

import asyncio
import logging
from contextlib import suppress

import prometheus_client

from services.chassis import redis, redis_keys
from services.chassis.outage import Outage

log = logging.getLogger(__name__)

# How often a Redis that failed is asked whether it is back, in seconds.
PAUSE_S = 0.5

REDIS_UP = prometheus_client.Gauge(
    "lumni_gateway_limiter_redis", "1 while limits are counted in Redis, else 0.", multiprocess_mode="livemin"
)


class Probe:
    """After a failure a task asks until Redis is back, so that no request waits for finding that out.

    Each partition has a task of its own: in a cluster some may be at a server that is down, and others not.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._redis = client
        self._outage = Outage(
            log,
            "Redis cannot count, limits are local",
            "limits are counted in Redis again",
            pause_s=PAUSE_S,
        )
        # By partition that failed and has not answered since.
        self._tasks: dict[str, asyncio.Task[None]] = {}
        REDIS_UP.set(1)

    def down(self, part: str) -> bool:
        """Whether a partition failed, and has not answered since."""
        return part in self._tasks

    def failed(self, part: str, error: BaseException) -> None:
        """Note that a call for a partition failed."""
        if self._outage.begin(error):
            REDIS_UP.set(0)
        if part not in self._tasks:
            self._tasks[part] = asyncio.create_task(self._until_back(part))

    async def pause(self) -> None:
        """Wait until Redis is back, but no longer than between two probes."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PAUSE_S):
                await self._outage.over()

    async def close(self) -> None:
        """Stop asking."""
        if self._tasks:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.wait(self._tasks.values())

    async def _until_back(self, part: str) -> None:
        while True:
            try:
                # At once, for this process may have been the slow one; a write, for what only reads cannot count.
                await self._redis.set(redis_keys.probe(part), 1, ex=60)
            except redis.ERRORS:
                await self._outage.pause()
                continue
            del self._tasks[part]
            if not self._tasks:
                REDIS_UP.set(1)
                self._outage.end()
            return
