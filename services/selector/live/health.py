"""How the deployments fare, read from Redis every half second; what was last known while Redis is gone."""

import asyncio
import logging
import time
from collections.abc import Iterable

import prometheus_client
from google.protobuf.message import DecodeError
from lumni.executor.v1 import executor_pb2 as pb

from services.chassis import redis, redis_keys
from services.chassis.outage import Outage
from services.selector.live import snapshot
from services.selector.live.snapshot import Headroom, Report, Snapshot
from services.selector.models.deployment_table import DeploymentTable

log = logging.getLogger(__name__)

# Half of the second that a snapshot may be old, so that a slow reading is still in time.
EVERY_S = 0.5
# While no executor has been heard of: none of its deployments can be selected before.
FIRST_S = 0.05
AGE = prometheus_client.Gauge("lumni_selector_snapshot_age_seconds", "Age of the health snapshot.")


class Health:
    """What the executors said last; `refresh` keeps it fresh."""

    def __init__(self) -> None:
        self._alive: list[list[Report]] = []
        self._taken_unix_s = 0.0
        self._known: tuple[DeploymentTable, Snapshot] | None = None

    def of(self, table: DeploymentTable) -> Snapshot:
        """The latest snapshot, over a table."""
        if self._known is None or self._known[0] is not table:
            self._known = (table, snapshot.merge(table, self._alive, time.time()))
        return self._known[1]

    async def refresh(self, client: redis.Redis) -> None:
        """Read until cancelled; while Redis is gone, and when no executor lives, what was last known stays."""
        outage = Outage(log, "Redis does not answer; selecting by what was last known", "Redis answers again")
        while True:
            try:
                await self.read(client)
            except redis.ERRORS as error:
                outage.begin(error)
            else:
                outage.end()
            # What was last known is looked at anew all the same: a used up quota may be whole again.
            self._known = None
            if self._alive:
                AGE.set(time.time() - self._taken_unix_s)
            await asyncio.sleep(EVERY_S if self._alive else FIRST_S)

    async def read(self, client: redis.Redis) -> None:
        """Read once.

        Raises:
            RedisError: Redis is gone.
        """
        replicas = sorted(await client.smembers(redis_keys.HEALTH_REPLICAS))
        if not replicas:
            return
        async with client.pipeline(transaction=False) as pipe:
            for replica in replicas:
                pipe.hvals(redis_keys.health(replica if isinstance(replica, str) else replica.decode()))
            views = await pipe.execute()
        alive = [list(_reports(view)) for view in views if view]
        if alive:
            self._alive, self._taken_unix_s = alive, time.time()


def _reports(view: Iterable[bytes]) -> Iterable[Report]:
    for raw in view:
        try:
            said = pb.DeploymentHealth.FromString(raw)
        except DecodeError:
            log.warning("a health report in Redis cannot be read; ignored")
            continue
        yield Report(
            deployment=said.deployment,
            breaker_open=said.breaker == pb.BREAKER_STATE_OPEN,
            half_open=said.breaker == pb.BREAKER_STATE_HALF_OPEN,
            latency_ms=said.latency_ms,
            error_rate=said.error_rate,
            in_flight=said.in_flight,
            callable=said.callable,
            headroom=tuple(
                Headroom(one.limit, one.total, one.remaining, one.resets_unix_ms / 1000)
                for one in said.headroom
            ),
        )
