"""What the ledger tells of what it writes and of what executors publish."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from lumni.chat.v1 import chat_pb2
from lumni.events.v1 import events_pb2
from lumni.executor.v1 import executor_pb2 as pb

from services.chassis import redis, redis_keys
from services.executor.engines.outcomes import ErrorClass
from services.gateway.alerts.messenger import Messenger
from services.gateway.config.alerts import Thresholds
from services.gateway.config.live import Live
from services.gateway.ledger import event_rows
from services.gateway.ledger.alert_configuration import AlertConfiguration
from services.gateway.ledger.alert_watch import CALLERS, AlertWatch, LedgerFacts
from services.gateway.ledger.rows import Ended
from tests.gateway.conftest import eventually, running

THRESHOLDS = Thresholds(every_s=0.01, least_requests=2, deployment_down_s=0)


class Told(Messenger):
    """Keeps what fires."""

    def __init__(self) -> None:
        self.firing: Mapping[str, str] = {}

    async def tell(self, firing: Mapping[str, str]) -> None:
        self.firing = firing


def watching(
    client: redis.Redis,
    messenger: Told,
    thresholds: Live[Thresholds] | None = None,
    providers: Live[Mapping[str, str]] | None = None,
    own: LedgerFacts | None = None,
) -> AlertWatch:
    """A watch that looks again at once."""
    return AlertWatch(
        client, messenger, thresholds or Live(THRESHOLDS), providers or Live({}), own or LedgerFacts()
    )


def ended(
    request_id: str,
    kind: events_pb2.UsageKind.ValueType = events_pb2.USAGE_KIND_FINAL,
    error: ErrorClass | None = None,
    key_id: str = "k1",
) -> Ended:
    """An attempt of a request, as the ledger reads it from its event."""
    event = events_pb2.UsageEvent(
        kind=kind,
        context=chat_pb2.RequestContext(request_id=request_id, key_id=key_id),
        attempt=pb.Attempt(
            id=f"{request_id}/1",
            deployment="d",
            error_class=error or "",
            started_unix_us=1_700_000_000_000_000,
            duration_ms=100,
        ),
    )
    read = event_rows.usage(event.SerializeToString())
    assert isinstance(read, Ended)
    return read


async def told(client: redis.Redis, watch: AlertWatch, messenger: Told, expected: set[str]) -> None:
    async def so() -> bool:
        return set(messenger.firing) == expected

    async with running(watch.run(lambda: 0.0)):
        await eventually(so)


async def test_failures_are_told_and_are_over(client: redis.Redis) -> None:
    messenger = Told()
    watch = watching(client, messenger)
    watch.ended([ended(f"good{n}") for n in range(10)])
    await told(client, watch, messenger, set())

    failed = events_pb2.USAGE_KIND_FAILED
    watch.ended([ended(f"bad{n}", failed, ErrorClass.SERVER_ERROR) for n in range(5)])
    await told(client, watch, messenger, {"LumniErrorRateHigh", "LumniErrorRateVeryHigh"})
    assert "33% of 15 requests failed" == messenger.firing["LumniErrorRateHigh"]

    watch.set_aside(3)
    await told(
        client, watch, messenger, {"LumniErrorRateHigh", "LumniErrorRateVeryHigh", "LumniLedgerPoison"}
    )


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        # A mistake of the caller, who left in the other two: before the answer began, and while it was sent.
        (events_pb2.USAGE_KIND_FAILED, ErrorClass.BAD_REQUEST),
        (events_pb2.USAGE_KIND_FAILED, ErrorClass.CANCELLED),
        (events_pb2.USAGE_KIND_PARTIAL, ErrorClass.CANCELLED),
        (events_pb2.USAGE_KIND_CACHED, None),
    ],
)
async def test_what_tells_nothing_of_a_provider_is_not_counted(
    client: redis.Redis, kind: events_pb2.UsageKind.ValueType, error: ErrorClass | None
) -> None:
    messenger = Told()
    watch = watching(client, messenger)
    watch.ended([ended(f"bad{n}", events_pb2.USAGE_KIND_PARTIAL, ErrorClass.CUT) for n in range(4)])
    watch.ended([ended(f"other{n}", kind, error) for n in range(50)])
    watch.ended([ended(f"mirrored{n}", key_id="mirror:old") for n in range(50)])

    await told(client, watch, messenger, {"LumniErrorRateHigh", "LumniErrorRateVeryHigh"})
    assert "100% of 4 requests failed" == messenger.firing["LumniErrorRateHigh"]


def test_the_errors_that_are_not_counted_are_errors_of_the_executor() -> None:
    assert set(ErrorClass) >= CALLERS


async def test_an_open_breaker_is_told_until_it_is_closed(client: redis.Redis) -> None:
    async def publish(breaker: "pb.BreakerState.ValueType") -> None:
        health = pb.DeploymentHealth(deployment="d", replica="a", callable=True, breaker=breaker)
        await client.hset(redis_keys.health("a"), "d", health.SerializeToString())
        await client.sadd(redis_keys.HEALTH_REPLICAS, "a")

    messenger = Told()
    watch = watching(client, messenger)
    await publish(pb.BREAKER_STATE_OPEN)
    await told(client, watch, messenger, {"LumniDeploymentDown"})
    # Nobody has called it yet.
    await publish(pb.BREAKER_STATE_HALF_OPEN)
    await told(client, watch, messenger, {"LumniDeploymentDown"})

    await publish(pb.BREAKER_STATE_CLOSED)
    await told(client, watch, messenger, set())


async def test_what_the_process_knows_of_itself_is_told(client: redis.Redis) -> None:
    busy = [1.0]
    messenger = Told()
    own = LedgerFacts(keys_expiring=lambda: 2, pool_share=lambda: busy[0])
    thresholds = Live(replace(THRESHOLDS, pool_full_s=0))
    watch = watching(client, messenger, thresholds, Live({"d": "openai"}), own)
    open_one = pb.DeploymentHealth(deployment="d", callable=True, breaker=pb.BREAKER_STATE_OPEN)
    keyless = pb.DeploymentHealth(deployment="other", breaker=pb.BREAKER_STATE_OPEN)
    for one in (open_one, keyless):
        await client.hset(redis_keys.health("a"), one.deployment, one.SerializeToString())
    await client.sadd(redis_keys.HEALTH_REPLICAS, "a")

    lasting = {"LumniProviderDown", "LumniDeploymentDown", "LumniKeysExpire"}
    await told(client, watch, messenger, {*lasting, "LumniDatabasePoolFull"})
    assert "no deployment of openai is called" == messenger.firing["LumniProviderDown"]
    assert "the circuit breakers of d are open" == messenger.firing["LumniDeploymentDown"]
    busy[0] = 0.75
    await told(client, watch, messenger, lasting)


async def test_a_pool_that_is_full_for_a_moment_is_not_told(client: redis.Redis) -> None:
    messenger = Told()
    watch = watching(client, messenger, own=LedgerFacts(keys_expiring=lambda: 1, pool_share=lambda: 1.0))

    await told(client, watch, messenger, {"LumniKeysExpire"})


def write(folder: Path, alerts: str, provider: str = "openai") -> None:
    """The two files with a section of alerts."""
    (folder / "litellm_config.yaml").write_text(
        f"model_list: [{{model_name: d, litellm_params: {{model: {provider}/some}}}}]"
    )
    (folder / "lumni.yaml").write_text(
        f"plans: {{free: {{access_groups: [standard]}}}}\ndefault_plan: free\nalerts: {alerts}"
    )


async def test_changed_thresholds_and_providers_are_in_force_without_a_restart_and_mistakes_never(
    client: redis.Redis, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    messenger = Told()
    write(tmp_path, "{every_s: 1, error_rate: 0.9, least_requests: 2}")
    configuration = AlertConfiguration(tmp_path)
    # A look a second is enough for people, and too slow for a test.
    configuration.thresholds.on_change(
        lambda changed: configuration.thresholds.replace(replace(changed, every_s=0.01))
    )
    configuration.thresholds.replace(replace(configuration.thresholds.current, every_s=0.01))
    watch = watching(client, messenger, configuration.thresholds, configuration.providers)
    failed = events_pb2.USAGE_KIND_FAILED
    watch.ended([ended(f"good{n}") for n in range(2)])
    watch.ended([ended(f"bad{n}", failed, ErrorClass.SERVER_ERROR) for n in range(1)])

    async with running(configuration.watch(0.01)):
        await told(client, watch, messenger, {"LumniErrorRateVeryHigh"})

        write(tmp_path, "{every_s: 1, error_rate: no, least_requests: 2}")

        async def refused() -> bool:
            return "lumni.yaml:3: alerts.error_rate" in caplog.text

        await eventually(refused)
        await told(client, watch, messenger, {"LumniErrorRateVeryHigh"})

        write(tmp_path, "{every_s: 1, error_rate: 0.2, least_requests: 2}", provider="anthropic")
        await told(client, watch, messenger, {"LumniErrorRateHigh", "LumniErrorRateVeryHigh"})

        async def renamed() -> bool:
            return list(configuration.providers.current.values()) == ["anthropic"]

        await eventually(renamed)
