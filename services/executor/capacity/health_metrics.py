"""The deployments' health as metrics, with one label value for each deployment that is configured."""

from collections.abc import Iterable

import prometheus_client
from lumni.executor.v1 import executor_pb2 as pb

INFO = prometheus_client.Gauge(
    "lumni_deployment_info",
    "1 for each deployment that is configured, with what it calls.",
    ["deployment", "model", "provider"],
    multiprocess_mode="livemax",
)
CALLABLE = prometheus_client.Gauge(
    "lumni_deployment_callable",
    "1 while the executor has the key and the address that a deployment needs.",
    ["deployment"],
    multiprocess_mode="livemax",
)
BREAKER = prometheus_client.Gauge(
    "lumni_deployment_breaker_open",
    "1 while a deployment's circuit breaker is open or half-open.",
    ["deployment"],
    multiprocess_mode="livemax",
)
IN_FLIGHT = prometheus_client.Gauge(
    "lumni_deployment_in_flight",
    "Calls of a deployment under way.",
    ["deployment"],
    multiprocess_mode="livesum",
)
QUEUED = prometheus_client.Gauge(
    "lumni_deployment_queued",
    "Calls that wait for a free slot of a deployment.",
    ["deployment"],
    multiprocess_mode="livesum",
)
HEADROOM = prometheus_client.Gauge(
    "lumni_deployment_headroom_ratio",
    "What is left of a deployment's limit, 0 to 1.",
    ["deployment", "limit"],
    multiprocess_mode="livemin",
)


class HealthMetrics:
    """Shows the latest reports; a deployment that is no longer configured is no longer shown."""

    def __init__(self) -> None:
        self._infos: set[tuple[str, str, str]] = set()
        self._limits: set[tuple[str, str]] = set()

    def show(self, listed: Iterable[pb.Deployment], queued: dict[str, int]) -> None:
        """Set the metrics.

        Args:
            listed: What is configured, with its health.
            queued: Calls that wait, by deployment.

        """
        infos, limits = set(), set()
        for one in listed:
            infos.add((one.id, one.model, one.provider))
            health = one.health
            CALLABLE.labels(one.id).set(health.callable)
            BREAKER.labels(one.id).set(health.breaker != pb.BREAKER_STATE_CLOSED)
            IN_FLIGHT.labels(one.id).set(health.in_flight)
            QUEUED.labels(one.id).set(queued.get(one.id, 0))
            for left in health.headroom:
                limits.add((one.id, left.limit))
                HEADROOM.labels(one.id, left.limit).set(left.remaining / left.total if left.total else 1.0)
        for info in infos:
            INFO.labels(*info).set(1)
        self._forget(infos, limits)
        self._infos, self._limits = infos, limits

    def _forget(self, infos: set[tuple[str, str, str]], limits: set[tuple[str, str]]) -> None:
        for info in self._infos - infos:
            _remove(INFO, info, neutral=0)
        for limit in self._limits - limits:
            _remove(HEADROOM, limit, neutral=1)
        for ident in {info[0] for info in self._infos} - {info[0] for info in infos}:
            for gauge in (CALLABLE, BREAKER, IN_FLIGHT, QUEUED):
                _remove(gauge, (ident,), neutral=0)


def _remove(gauge: prometheus_client.Gauge, labels: tuple[str, ...], *, neutral: float) -> None:
    # Where workers measure together a value stays in the worker's file, so it must not be one that alerts.
    gauge.labels(*labels).set(neutral)
    gauge.remove(*labels)
