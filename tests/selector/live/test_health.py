"""When a selector knows how the deployments fare."""

import asyncio

from lumni.executor.v1 import executor_pb2 as pb

from services.chassis import redis, redis_keys
from services.selector.live.health import Health


async def test_it_waits_for_an_executor_and_not_for_ever(valkey: str) -> None:
    health = Health()
    async with redis.connect(valkey, timeout_s=5) as client, asyncio.TaskGroup() as group:
        refreshing = group.create_task(health.refresh(client))
        assert not await health.known(0.01)

        waiting = group.create_task(health.known(60))
        report = pb.DeploymentHealth(deployment="small@openai", callable=True)
        await client.hset(redis_keys.health("one"), "small@openai", report.SerializeToString())
        await client.sadd(redis_keys.HEALTH_REPLICAS, "one")

        assert await waiting
        refreshing.cancel()
