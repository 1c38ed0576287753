"""What is counted of each request to a model."""

from contextlib import suppress

import pytest
from lumni.chat.v1 import chat_pb2
from lumni.classifier.v1 import classifier_pb2
from lumni.executor.v1 import executor_pb2 as pb
from lumni.selector.v1 import selector_pb2
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
from prometheus_client import REGISTRY

from services.chassis import errors, telemetry
from services.chassis.operations import Operation
from services.gateway.pipeline import measures
from services.gateway.pipeline.decision import Decision

CHEAP = selector_pb2.Candidate(
    deployment="cheap", quality=0.5, input_nano_usd_per_mtok=1_000_000, output_nano_usd_per_mtok=2_000_000
)
BEST = selector_pb2.Candidate(
    deployment="best", quality=0.9, input_nano_usd_per_mtok=10_000_000, output_nano_usd_per_mtok=20_000_000
)


def decision() -> Decision:
    selection = selector_pb2.Selection(tier=classifier_pb2.TIER_FAST, candidates=[CHEAP, BEST])
    return Decision(0.0, chat_pb2.RequestContext(), classifier_pb2.Classification(), selection, [])


def report(*deployments: str, unpriced: bool = False) -> pb.Report:
    return pb.Report(
        usage=pb.Usage(prompt_tokens=1000, completion_tokens=100),
        cost_nano_usd=1200,
        attempts=[pb.Attempt(deployment=one, unpriced=unpriced) for one in deployments],
    )


def count(outcome: str, tier: str = "fast") -> float:
    labels = {"operation": "chat", "tier": tier, "outcome": outcome}
    return REGISTRY.get_sample_value("lumni_gateway_requests_total", labels) or 0.0


def total(name: str) -> float:
    return REGISTRY.get_sample_value(f"{name}_total") or 0.0


def histograms_showing(trace_id: str) -> set[str]:
    """The stages and the other histograms of the gateway that show a trace as an example."""
    return {
        sample.labels.get("stage", family.name)
        for family in REGISTRY.collect()
        if family.name.startswith("lumni_gateway_")
        for sample in family.samples
        if sample.exemplar is not None and sample.exemplar.labels["trace_id"] == trace_id
    }


@pytest.mark.parametrize("recorded", [True, False])
def test_a_recorded_trace_is_the_example_of_what_it_took(
    spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch, recorded: bool
) -> None:
    monkeypatch.setattr(telemetry._sampling, "by", TraceIdRatioBased(float(recorded)))
    with telemetry.server_span("request", ""):
        trace_id = telemetry.trace_id()
        with measures.looking_up():
            measures.admitted(decision())
        with measures.execution(Operation.CHAT, decision()) as running:
            running.first_chunk()
            running.report = report("cheap")

    stages = {"cache", "classify", "select", "admit", "provider"}
    whole = {"lumni_gateway_overhead_seconds", "lumni_gateway_first_chunk_seconds"}
    assert (stages | whole if recorded else set()) == histograms_showing(trace_id)


def execute(outcome: pb.Report | BaseException) -> None:
    with (
        suppress(errors.Fault, ZeroDivisionError, GeneratorExit),
        measures.execution(Operation.CHAT, decision()) as running,
    ):
        if isinstance(outcome, BaseException):
            raise outcome
        running.report = outcome


@pytest.mark.parametrize(
    ("ended", "outcome"),
    [
        (report("cheap"), "answered"),
        (report("cheap", "cheap"), "answered"),
        (report("cheap", "best"), "fallback"),
        (errors.Unavailable("down"), "failed"),
        (errors.TimedOut("late"), "failed"),
        (ZeroDivisionError(), "failed"),
        (errors.Invalid("wrong"), "refused"),
        (GeneratorExit(), "left"),
    ],
)
def test_each_request_has_one_outcome(ended: pb.Report | BaseException, outcome: str) -> None:
    names = ("answered", "fallback", "failed", "refused", "left")
    before = {name: count(name) for name in names}

    execute(ended)

    assert {outcome: 1.0} == {
        name: count(name) - before[name] for name in names if count(name) != before[name]
    }


def test_a_deployment_that_was_passed_over_makes_the_next_one_a_fallback() -> None:
    passed_over = report("best")
    passed_over.skips.add(deployment="cheap", reason="breaker_open")
    before = count("fallback")

    execute(passed_over)

    assert 1 == count("fallback") - before


def test_a_refusal_before_the_decision_has_no_tier() -> None:
    before = count("refused", "none")

    measures.refused(Operation.CHAT, None, errors.Exhausted("no more"))

    assert 1 == count("refused", "none") - before


def test_savings_are_the_difference_of_two_counters() -> None:
    names = ("lumni_routed_cost_nano_usd", "lumni_baseline_cost_nano_usd")
    before = [total(name) for name in names]

    execute(report("cheap"))
    # Without a price nothing is known to be saved.
    execute(report("cheap", unpriced=True))

    # 1,000 and 100 tokens at 10 and 20 millionths of a USD for a thousand of them.
    assert [1200, 12_000] == [total(name) - was for name, was in zip(names, before, strict=True)]


def test_what_has_no_tokens_or_is_billed_beside_them_is_no_loss() -> None:
    names = ("lumni_routed_cost_nano_usd", "lumni_baseline_cost_nano_usd")
    before = [total(name) for name in names]

    execute(pb.Report(cost_nano_usd=15_000_000, attempts=[pb.Attempt(deployment="cheap")]))
    searched = report("cheap")
    searched.cost_nano_usd += 10_000_000
    searched.attempts[0].cost_parts.fees_nano_usd = 10_000_000
    execute(searched)

    assert [1200, 12_000] == [total(name) - was for name, was in zip(names, before, strict=True)]
