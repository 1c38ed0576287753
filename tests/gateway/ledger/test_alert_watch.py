"""What the ledger tells of what it writes and of what executors publish."""

from collections.abc import Mapping
from typing import Any

from lumni.executor.v1 import executor_pb2 as pb

from services.chassis import redis, redis_keys
from services.gateway.alerts.messenger import Messenger
from services.gateway.config.alerts import Thresholds
from services.gateway.ledger.alert_watch import AlertWatch
from services.gateway.ledger.rows import USAGE_COLUMNS, Ended
from tests.gateway.conftest import eventually, running

THRESHOLDS = Thresholds(every_s=0.01, least_requests=2, deployment_down_s=0)


class Told(Messenger):
    """Keeps what fires."""

    def __init__(self) -> None:
        self.firing: Mapping[str, str] = {}

    async def tell(self, firing: Mapping[str, str]) -> None:
        self.firing = firing


def ended(request_id: str, **columns: Any) -> Ended:
    row = {"kind": "final", "error_class": "", "duration_ms": 100.0, "deployment": "d", **columns}
    return Ended(f"{request_id}/1", request_id, tuple(row.get(name) for name in USAGE_COLUMNS), last=True)


async def told(client: redis.Redis, watch: AlertWatch, messenger: Told, expected: set[str]) -> None:
    async def so() -> bool:
        return set(messenger.firing) == expected

    async with running(watch.run(lambda: 0.0)):
        await eventually(so)


async def test_failures_are_told_and_are_over(client: redis.Redis) -> None:
    messenger = Told()
    watch = AlertWatch(client, messenger, THRESHOLDS)
    # Mistakes of callers, and those who leave, are no failures.
    watch.ended([ended(str(n), kind="failed", error_class="bad_request") for n in range(50)])
    watch.ended([ended(f"left{n}", kind="partial") for n in range(50)])
    watch.ended([ended(f"good{n}") for n in range(10)])
    await told(client, watch, messenger, set())

    watch.ended([ended(f"bad{n}", kind="failed", error_class="server_error") for n in range(5)])
    await told(client, watch, messenger, {"LumniErrorRateHigh"})
    assert "33% of 15 requests failed" == messenger.firing["LumniErrorRateHigh"]

    watch.set_aside(3)
    await told(client, watch, messenger, {"LumniErrorRateHigh", "LumniLedgerPoison"})


async def test_an_open_breaker_is_told_until_it_is_closed(client: redis.Redis) -> None:
    async def publish(breaker: "pb.BreakerState.ValueType") -> None:
        health = pb.DeploymentHealth(deployment="d", replica="a", callable=True, breaker=breaker)
        await client.hset(redis_keys.health("a"), "d", health.SerializeToString())
        await client.sadd(redis_keys.HEALTH_REPLICAS, "a")

    messenger = Told()
    watch = AlertWatch(client, messenger, THRESHOLDS)
    await publish(pb.BREAKER_STATE_OPEN)
    await told(client, watch, messenger, {"LumniDeploymentDown"})
    # Nobody has called it yet.
    await publish(pb.BREAKER_STATE_HALF_OPEN)
    await told(client, watch, messenger, {"LumniDeploymentDown"})

    await publish(pb.BREAKER_STATE_CLOSED)
    await told(client, watch, messenger, set())
