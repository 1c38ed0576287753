"""How each deployment fares, published to Redis for the selectors and listed to callers."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Iterator
from typing import cast

from lumni.executor.v1 import executor_pb2 as pb

from services.chassis import redis_keys
from services.chassis.redis import Command, Redis, checked, exchange, transaction
from services.executor.capacity.breaker import BreakerState
from services.executor.capacity.gate import CapacityGate
from services.executor.capacity.health_metrics import HealthMetrics
from services.executor.capacity.redis_state import RedisGuard
from services.executor.engines.directory import Directory

log = logging.getLogger(__name__)

EVERY_S = 1.0
BREAKER_STATES = {
    BreakerState.CLOSED: pb.BREAKER_STATE_CLOSED,
    BreakerState.OPEN: pb.BREAKER_STATE_OPEN,
    BreakerState.HALF_OPEN: pb.BREAKER_STATE_HALF_OPEN,
}


class Health:
    """How all deployments fare, as this replica sees it."""

    def __init__(self, directory: Directory, gate: CapacityGate, replica: str) -> None:
        self._directory = directory
        self._gate = gate
        self._replica = replica

    def all(self) -> Iterator[pb.DeploymentHealth]:
        """One report for each deployment, in the configuration's order."""
        now = time.time()
        for deployment in self._directory.fleet.deployments:
            is_callable = self._directory.is_callable(deployment)
            state = self._gate.state(deployment)
            yield pb.DeploymentHealth(
                deployment=deployment.id,
                replica=self._replica,
                breaker=BREAKER_STATES[self._gate.breaker(deployment.id)],
                latency_ms=state.latency_ms,
                error_rate=self._gate.error_rate(deployment.id),
                in_flight=state.slots.in_use,
                headroom=[
                    pb.Headroom(
                        limit=one.quota,
                        total=one.total,
                        # A window that is over is whole again.
                        remaining=one.remaining if one.resets_unix_s > now else one.total,
                        resets_unix_ms=int(one.resets_unix_s * 1000),
                        by_provider=one.by_provider,
                    )
                    for one in state.headroom.values()
                ],
                updated_unix_ms=int(now * 1000),
                callable=is_callable,
                available=is_callable and state.last_error is None,
                last_error=state.last_error or "",
                rests_until_unix_ms=int(self._gate.rests_until_unix_s(deployment) * 1000),
            )

    def listed(self) -> Iterator[pb.Deployment]:
        """The same, with what is configured."""
        for deployment, health in zip(self._directory.fleet.deployments, self.all(), strict=True):
            found = self._directory.find(deployment.id)
            yield pb.Deployment(
                id=deployment.id,
                model=deployment.model,
                provider=deployment.provider,
                engine=found[1].name if found else "",
                health=health,
            )

    def _queued(self) -> dict[str, int]:
        """Calls that wait for a slot, by deployment."""
        return {one.id: self._gate.state(one).slots.queued for one in self._directory.fleet.deployments}

    async def publish(self, guard: RedisGuard) -> None:
        """Publish to Redis and the metrics, every second until cancelled; then delete this replica's view."""
        key = redis_keys.health(self._replica)
        metrics = HealthMetrics()
        await guard.call(_forget_dead_replicas)
        try:
            while True:
                listed = list(self.listed())
                metrics.show(listed, self._queued())
                view = {one.id: one.health.SerializeToString() for one in listed}

                async def publish(redis: Redis, view: dict[str, bytes] = view) -> None:
                    fields = [part for field in view.items() for part in field]
                    commands: list[Command] = [("HSET", key, *fields)] if fields else []
                    await transaction(
                        redis, [("DEL", key), *commands, ("PEXPIRE", key, redis_keys.HEALTH_TTL_MS)]
                    )
                    checked(await exchange(redis, [("SADD", redis_keys.HEALTH_REPLICAS, self._replica)]))

                await guard.call(publish)
                await asyncio.sleep(EVERY_S)
        finally:
            await guard.call(lambda redis: redis.delete(key))
            await guard.call(lambda redis: redis.srem(redis_keys.HEALTH_REPLICAS, self._replica))


async def _forget_dead_replicas(redis: Redis) -> None:
    """Remove the names of replicas that died; one that was only slow adds its own again."""
    replicas = [
        name.decode()
        for name in await cast("Awaitable[set[bytes]]", redis.smembers(redis_keys.HEALTH_REPLICAS))
    ]
    alive = checked(
        await exchange(redis, [("EXISTS", redis_keys.health(replica)) for replica in replicas])
        if replicas
        else []
    )
    dead = [replica for replica, is_alive in zip(replicas, alive, strict=True) if not is_alive]
    if dead:
        await redis.srem(redis_keys.HEALTH_REPLICAS, *dead)
