"""The deployments' health, read from Redis every half second; while Redis is down, as it was last read."""

import asyncio
import logging
import time
from collections.abc import Iterable
from contextlib import suppress

import prometheus_client
from lumni.executor.v1 import executor_pb2 as pb

from services.chassis import published_health, redis
from services.chassis.outage import Outage
from services.selector.live import snapshot
from services.selector.live.snapshot import Headroom, Report, Snapshot
from services.selector.models.deployment_table import DeploymentTable

log = logging.getLogger(__name__)

# Half of the second that a snapshot may be old, so that a slow reading is still in time.
EVERY_S = 0.5
# Until an executor has published: none of its deployments can be selected before.
FIRST_S = 0.05
AGE = prometheus_client.Gauge(
    "lumni_selector_snapshot_age_seconds", "Age of the health snapshot.", multiprocess_mode="livemax"
)


class Health:
    """What the executors published last; `refresh` keeps it fresh."""

    def __init__(self) -> None:
        self._replicas: list[list[Report]] = []
        self._published = asyncio.Event()
        self._taken_unix_s = 0.0
        self._known: tuple[DeploymentTable, Snapshot] | None = None

    def of(self, table: DeploymentTable) -> Snapshot:
        """The latest snapshot, over a table."""
        if self._known is None or self._known[0] is not table:
            self._known = (table, snapshot.merge(table, self._replicas, time.time()))
        return self._known[1]

    async def refresh(self, client: redis.Redis) -> None:
        """Read until cancelled; while Redis is down, and when no executor runs, what was last read stays."""
        outage = Outage(log, "Redis does not answer; selecting by what was last read", "Redis answers again")
        while True:
            try:
                await self.read(client)
            except redis.ERRORS as error:
                outage.begin(error)
            else:
                outage.end()
            # What was last read is merged anew all the same: a used up quota may be available again.
            self._known = None
            if self._replicas:
                AGE.set(time.time() - self._taken_unix_s)
            await asyncio.sleep(EVERY_S if self._replicas else FIRST_S)

    async def known(self, within_s: float) -> bool:
        """Wait, while `refresh` runs, until an executor has published; whether one had after so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._published.wait()
        return self._published.is_set()

    async def read(self, client: redis.Redis) -> None:
        """Read once.

        Raises:
            RedisError: Redis is down.
        """
        replicas = [_reports(view) for view in await published_health.read(client)]
        if replicas:
            self._replicas, self._taken_unix_s = replicas, time.time()
            self._published.set()


def _reports(view: Iterable[pb.DeploymentHealth]) -> list[Report]:
    return [
        Report(
            deployment=read.deployment,
            breaker_open=read.breaker == pb.BREAKER_STATE_OPEN,
            half_open=read.breaker == pb.BREAKER_STATE_HALF_OPEN,
            latency_ms=read.latency_ms,
            error_rate=read.error_rate,
            in_flight=read.in_flight,
            callable=read.callable,
            headroom=tuple(
                Headroom(one.limit, one.total, one.remaining, one.resets_unix_ms / 1000)
                for one in read.headroom
            ),
        )
        for read in view
    ]
