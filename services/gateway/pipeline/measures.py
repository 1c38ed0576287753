"""What the pipeline measures of each request to a model: how it ended, where its time went, and what routing saved.

No label holds anything that a caller chose: operations, tiers, outcomes and stages are all there are.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import prometheus_client
from lumni.classifier.v1 import classifier_pb2
from lumni.executor.v1 import executor_pb2

from services.chassis import errors, telemetry
from services.chassis.enums import word
from services.chassis.operations import Operation
from services.gateway import savings
from services.gateway.pipeline.decision import Decision
from services.gateway.pipeline.reservation import carried_report

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)

REQUESTS = prometheus_client.Counter(
    "lumni_gateway_requests",
    "Requests to a model: answered by the first deployment that was tried, by a fallback, from the cache (cached), "
    "failed for a reason of ours or a provider's, refused for one of the caller's, or left by the caller.",
    ["operation", "tier", "outcome"],
)
DEGRADED = prometheus_client.Counter(
    "lumni_gateway_degraded_requests",
    "Requests that were decided without a service that is down.",
    ["service"],
)
for _service in ("classifier", "selector"):
    # Shown from the start: a rate does not see a counter that begins with its first request.
    DEGRADED.labels(_service)
STAGE = prometheus_client.Histogram(
    "lumni_gateway_stage_seconds",
    "Time of a request in a stage: cache, where an earlier answer might do, classify, select, admit, provider.",
    ["stage"],
    buckets=SECONDS,
)
CACHE, CLASSIFY, SELECT, ADMIT, PROVIDER = (
    STAGE.labels(stage) for stage in ("cache", "classify", "select", "admit", "provider")
)
OVERHEAD = prometheus_client.Histogram(
    "lumni_gateway_overhead_seconds",
    "Time of an answered request that its providers did not take.",
    buckets=SECONDS,
)
FIRST_CHUNK = prometheus_client.Histogram(
    "lumni_gateway_first_chunk_seconds",
    "Time from the beginning of a decision to the first chunk of a streamed answer.",
    buckets=SECONDS,
)
COST = prometheus_client.Counter(
    "lumni_routed_cost_nano_usd",
    "What the tokens of answered requests cost, where all prices are known.",
)
BASELINE = prometheus_client.Counter(
    "lumni_baseline_cost_nano_usd",
    "What the tokens of the same requests cost at the most powerful model that was allowed for each.",
)
# The counter of each kind of request, looked up once.
_requests = cache(REQUESTS.labels)

# Whose doing these are, no caller can mend.
OURS = (errors.Unavailable, errors.TimedOut, errors.Internal)


def refused(operation: Operation, decision: Decision | None, fault: errors.Fault) -> None:
    """Count a request that was not executed."""
    _requests(operation, _tier(decision), _outcome(fault)).inc()


@contextmanager
def looking_up() -> Iterator[None]:
    """Measure the search for an earlier answer, which the block is."""
    began = time.perf_counter()
    try:
        yield
    finally:
        CACHE.observe(time.perf_counter() - began, telemetry.exemplar())


def admitted(decision: Decision) -> None:
    """Measure what came before the execution, which begins now."""
    exemplar = telemetry.exemplar()
    CLASSIFY.observe(decision.classify_ms / 1000, exemplar)
    SELECT.observe(decision.select_ms / 1000, exemplar)
    decided_s = (decision.classify_ms + decision.select_ms) / 1000
    ADMIT.observe(max(0.0, time.perf_counter() - decision.began - decided_s), exemplar)
    for service in decision.degraded:
        DEGRADED.labels(service).inc()


def cached(operation: Operation, decision: Decision) -> None:
    """Count a request that an earlier answer did for."""
    _requests(operation, _tier(decision), "cached").inc()


class Execution:
    """What is learnt of a request while it is executed; the report is the executor's, once it has come."""

    def __init__(self, decision: Decision) -> None:
        self._decision = decision
        self.report: executor_pb2.Report | None = None

    def first_chunk(self) -> None:
        """Measure that the first chunk of a stream has come."""
        FIRST_CHUNK.observe(time.perf_counter() - self._decision.began, telemetry.exemplar())


@contextmanager
def execution(operation: Operation, decision: Decision) -> Iterator[Execution]:
    """Measure what the block executes, however it ends."""
    running = Execution(decision)
    outcome = "left"
    try:
        yield running
        report = running.report or executor_pb2.Report()
        outcome = "fallback" if _fell_back(report) else "answered"
        _answered(decision, report)
    except errors.Fault as fault:
        outcome = _outcome(fault)
        running.report = running.report or carried_report(fault)
        raise
    except Exception:
        outcome = "failed"
        raise
    finally:
        if running.report is not None:
            PROVIDER.observe(running.report.timing.provider_ms / 1000, telemetry.exemplar())
        _requests(operation, _tier(decision), outcome).inc()


def _answered(decision: Decision, report: executor_pb2.Report) -> None:
    took = time.perf_counter() - decision.began - report.timing.provider_ms / 1000
    OVERHEAD.observe(max(0.0, took), telemetry.exemplar())
    baseline = savings.most_powerful(decision.selection.candidates)
    usage = report.usage
    # Speech, transcriptions and most pictures have no tokens, and so no price at another model to compare theirs with.
    tokens = usage.prompt_tokens + usage.completion_tokens
    if not tokens or baseline.unpriced or any(attempt.unpriced for attempt in report.attempts):
        return
    # What is billed beside tokens would be all the same.
    COST.inc(report.cost_nano_usd - sum(one.cost_parts.fees_nano_usd for one in report.attempts))
    BASELINE.inc(savings.cost_at(baseline, usage.prompt_tokens, usage.completion_tokens))


def _fell_back(report: executor_pb2.Report) -> bool:
    """Whether another deployment than the first one answered, or the first one could not be called at all."""
    tried = [attempt.deployment for attempt in report.attempts]
    return bool(report.skips) or len(set(tried)) > 1


def _outcome(fault: errors.Fault) -> str:
    return "failed" if isinstance(fault, OURS) else "refused"


def _tier(decision: Decision | None) -> str:
    return (word(classifier_pb2.Tier, decision.selection.tier) if decision else None) or "none"
