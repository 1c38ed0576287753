"""Deployments as metrics."""

from lumni.executor.v1 import executor_pb2 as pb
from prometheus_client import REGISTRY

from services.executor.capacity.health_metrics import HealthMetrics


def listed(ident: str, *, breaker: "pb.BreakerState.ValueType" = pb.BREAKER_STATE_CLOSED) -> pb.Deployment:
    health = pb.DeploymentHealth(
        deployment=ident,
        callable=True,
        in_flight=2,
        breaker=breaker,
        headroom=[pb.Headroom(limit="rpm", total=10, remaining=3)],
    )
    return pb.Deployment(id=ident, model="model", provider="openai", health=health)


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(f"lumni_deployment_{name}", labels)


def test_a_deployment_that_is_no_longer_configured_is_no_longer_shown() -> None:
    metrics = HealthMetrics()
    metrics.show([listed("kept"), listed("gone", breaker=pb.BREAKER_STATE_OPEN)], {"kept": 4})

    assert 1 == value("breaker_open", deployment="gone")
    assert 0 == value("breaker_open", deployment="kept")
    assert 4 == value("queued", deployment="kept")
    assert 0.3 == value("headroom_ratio", deployment="kept", limit="rpm")
    assert 1 == value("info", deployment="gone", model="model", provider="openai")

    metrics.show([listed("kept")], {})

    assert value("breaker_open", deployment="gone") is None
    assert value("headroom_ratio", deployment="gone", limit="rpm") is None
    assert value("info", deployment="gone", model="model", provider="openai") is None
    assert 2 == value("in_flight", deployment="kept")
