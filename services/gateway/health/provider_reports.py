"""What is known of the deployments at the moment: read from Redis, at most once a second for all who ask."""

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from lumni.executor.v1 import executor_pb2

from services.chassis import errors, published_health, redis, redis_keys
from services.chassis.deployments import Fleet
from services.chassis.enums import word
from services.chassis.outage import Outage
from services.gateway.health import deployments
from services.gateway.health.deployments import Breaker, Deployment, Headroom, Report
from services.gateway.peers.clients import Executor

log = logging.getLogger(__name__)

# How long what was read is good for, in seconds: executors publish every second.
REMEMBERED_S = 1.0


class Source(StrEnum):
    """Where the reports come from."""

    # Every executor replica published its own.
    REDIS = "redis"
    # One replica was asked, as Redis does not answer or holds no report.
    EXECUTOR = "executor"
    # Neither answers: what was read last, as far as it is not too old.
    MEMORY = "memory"


@dataclass(frozen=True, slots=True)
class View:
    """All deployments at one moment.

    Args:
        source: Where the reports come from.
        read_unix_s: When they were read; 0 when none ever were.
        replicas: The executors that reported.
        deployments: In the configuration's order.

    """

    source: Source
    read_unix_s: float
    replicas: tuple[str, ...]
    deployments: Sequence[Deployment]


class ProviderReports:
    """Reads the reports of the executors, each wait with a deadline."""

    def __init__(self, client: redis.Redis, executor: Executor, fleet: Fleet) -> None:
        """Read through `client`, whose deadline is short, or else from one `executor`."""
        self._redis = client
        self._executor = executor
        self.take(fleet)
        self._outage = Outage(
            log, "the deployments' health cannot be read", "the deployments' health is read"
        )
        self._reports: Sequence[Report] = ()
        self._source = Source.MEMORY
        self._read_unix_s = 0.0
        self._reading: asyncio.Task[None] | None = None
        self._read_at = 0.0

    def take(self, fleet: Fleet) -> None:
        """Tell of the deployments of another fleet from now on."""
        self._configured = {one.id: (one.model, one.provider) for one in fleet.deployments}

    async def latest(self) -> View:
        """How the deployments fare, as it was read within `REMEMBERED_S`, or else as it was read last."""
        reading = self._reading
        if reading is None or (reading.done() and time.monotonic() - self._read_at > REMEMBERED_S):
            reading = self._reading = asyncio.create_task(self._read())
        # Who leaves does not take the answer away from the others.
        await asyncio.shield(reading)
        now_ms = int(time.time() * 1000)
        # An executor that died, or that cannot be reached, is not known to be well.
        recent = [one for one in self._reports if now_ms - one.updated_unix_ms <= redis_keys.HEALTH_TTL_MS]
        return View(
            self._source,
            self._read_unix_s,
            tuple(sorted({one.replica for one in recent})),
            deployments.merge(self._configured, recent, now_ms),
        )

    async def _read(self) -> None:
        try:
            self._reports, self._source = await self._found()
            self._read_unix_s = time.time()
            self._outage.end()
        except errors.Fault as fault:
            self._source = Source.MEMORY
            self._outage.begin(fault)
        finally:
            self._read_at = time.monotonic()

    async def _found(self) -> tuple[Sequence[Report], Source]:
        """The reports of all replicas, or of one.

        Raises:
            Fault: neither Redis nor an executor answers.
        """
        try:
            views = await published_health.read(self._redis)
        except redis.ERRORS:
            views = []
        if views:
            return list(_reports(one for view in views for one in view)), Source.REDIS
        listed = await self._executor.deployments()
        return list(_reports(one.health for one in listed)), Source.EXECUTOR


def _reports(published: Iterable[executor_pb2.DeploymentHealth]) -> Iterable[Report]:
    for one in published:
        yield Report(
            deployment=one.deployment,
            replica=one.replica,
            breaker=Breaker(word(executor_pb2.BreakerState, one.breaker) or Breaker.CLOSED),
            latency_ms=one.latency_ms,
            error_rate=one.error_rate,
            in_flight=one.in_flight,
            callable=one.callable,
            last_error=one.last_error,
            rests_until_unix_ms=one.rests_until_unix_ms,
            updated_unix_ms=one.updated_unix_ms,
            headroom=tuple(
                Headroom(left.limit, left.total, left.remaining, left.resets_unix_ms, left.by_provider)
                for left in one.headroom
            ),
        )
