"""How the deployments fare, as the executor replicas published it to Redis; read by selectors and gateways."""

import logging
from collections.abc import Iterable

from google.protobuf.message import DecodeError
from lumni.executor.v1 import executor_pb2

from services.chassis import redis, redis_keys

log = logging.getLogger(__name__)


async def read(client: redis.Redis) -> list[list[executor_pb2.DeploymentHealth]]:
    """What each replica that is alive published last, in the order of their names; empty when there is none.

    Raises:
        RedisError: Redis is down.
    """
    names = sorted(await client.smembers(redis_keys.HEALTH_REPLICAS))
    if not names:
        return []
    views = redis.checked(
        await redis.exchange(client, [("HVALS", redis_keys.health(redis.text(name))) for name in names])
    )
    return [list(_reports(view)) for view in views if view]


def _reports(view: Iterable[bytes]) -> Iterable[executor_pb2.DeploymentHealth]:
    for raw in view:
        try:
            yield executor_pb2.DeploymentHealth.FromString(raw)
        except DecodeError:
            log.warning("a health report in Redis cannot be read; ignored")
