"""What is added to an answer."""

import json
import time

import pytest
from lumni.chat.v1 import chat_pb2
from lumni.classifier.v1 import classifier_pb2
from lumni.executor.v1 import executor_pb2
from lumni.selector.v1 import selector_pb2

from services.gateway.limits.admission import Admission
from services.gateway.pipeline import metadata, render
from services.gateway.pipeline.decision import Decision

ADMISSION = Admission("r1", ("a", "b"), headers={"x-ratelimit-remaining-requests": "3"})
REPORT = executor_pb2.Report(
    cost_nano_usd=1500,
    attempts=[
        executor_pb2.Attempt(
            deployment="a", model="big", outcome=executor_pb2.OUTCOME_FAILED, error_class="timeout"
        ),
        executor_pb2.Attempt(deployment="b", model="small", cost_nano_usd=1500),
    ],
)


PARTS = ("input_usd", "cached_usd", "output_usd", "fees_usd")


def decision(**more: object) -> Decision:
    candidates = [
        selector_pb2.Candidate(
            deployment=name, benchmarks=[selector_pb2.Benchmark(name=f"bench-{name}", score=50)]
        )
        for name in ("a", "b")
    ]
    values = {
        "began": time.perf_counter(),
        "context": chat_pb2.RequestContext(request_id="r1"),
        "classification": classifier_pb2.Classification(
            category=classifier_pb2.CATEGORY_CODE, prompt_tokens=12
        ),
        "selection": selector_pb2.Selection(tier=classifier_pb2.TIER_FAST, candidates=candidates),
        "degraded": [],
        **more,
    }
    return Decision(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("body", "whole"),
    [
        ('{"id":"1"}', '{"id":"1","lumni":{"a":1}}'),
        ('{"id": 1.0 }\n', '{"id": 1.0 ,"lumni":{"a":1}}'),
        ("{}", '{"lumni":{"a":1}}'),
        ("{ }", '{ "lumni":{"a":1}}'),
    ],
)
def test_lumni_goes_before_the_final_brace_and_the_rest_stays_as_it_is(body: str, whole: str) -> None:
    assert whole == metadata.added(body, {"a": 1})
    assert {"a": 1} == json.loads(whole)["lumni"]


def test_the_summary_is_of_the_deployment_that_answered() -> None:
    shown = metadata.summary(decision(), REPORT)

    assert ("b", "small", "bench-b") == (shown["deployment"], shown["model"], shown["benchmark"]["name"])
    assert (1.5e-06, 1500, False) == tuple(shown["cost"][name] for name in ("usd", "nano_usd", "estimated"))
    assert ["failed", None] == [one["outcome"] for one in shown["attempts"]]
    assert 12 == shown["classification"]["prompt_tokens"]
    assert "0123456789ab" == metadata.summary(decision(configuration="0123456789ab"), REPORT)["configuration"]


def test_an_answer_without_attempts_still_has_a_summary() -> None:
    shown = metadata.summary(decision(), executor_pb2.Report())

    assert ("", None, []) == (shown["deployment"], shown["benchmark"], shown["attempts"])


def test_headers_say_what_is_known_and_leave_out_the_rest() -> None:
    begun = metadata.headers(decision(), ADMISSION)
    ended = metadata.headers(decision(degraded=["classifier", "selector"]), ADMISSION, REPORT)

    assert {
        "x-lumni-tier": "fast",
        "x-lumni-category": "code",
        "x-ratelimit-remaining-requests": "3",
    } == begun
    assert {
        "x-lumni-degraded": "classifier,selector",
        "x-lumni-deployment": "b",
        "x-lumni-attempts": "2",
        "x-lumni-cost-usd": "0.000001500",
    }.items() <= ended.items()


def test_a_cost_that_nobody_knows_is_null_and_said_to_be_so() -> None:
    unknown = executor_pb2.Attempt(
        deployment="b", model="house", unpriced=True, outcome=executor_pb2.OUTCOME_SUCCEEDED
    )
    failed = executor_pb2.Attempt(deployment="a", unpriced=True, outcome=executor_pb2.OUTCOME_FAILED)
    report = executor_pb2.Report(attempts=[failed, unknown])

    lumni = metadata.summary(decision(), report)
    headers = metadata.headers(decision(), ADMISSION, report)

    assert {
        **dict.fromkeys(("usd", "nano_usd", *PARTS)),
        "estimated": False,
        "unpriced": True,
    } == lumni["cost"]
    assert [0.0, None] == [attempt["cost_usd"] for attempt in lumni["attempts"]]
    assert "true" == headers["x-lumni-unpriced"]
    assert "x-lumni-cost-usd" not in headers


def test_an_attempt_that_failed_costs_nothing_at_any_price() -> None:
    failed = executor_pb2.Attempt(deployment="a", unpriced=True, outcome=executor_pb2.OUTCOME_FAILED)
    paid = executor_pb2.Attempt(deployment="b", cost_nano_usd=1500, outcome=executor_pb2.OUTCOME_SUCCEEDED)

    cost = metadata.summary(decision(), executor_pb2.Report(cost_nano_usd=1500, attempts=[failed, paid]))[
        "cost"
    ]

    assert (1500, False) == (cost["nano_usd"], "unpriced" in cost)


def test_the_parts_of_the_cost_are_those_of_all_attempts_that_may_be_billed() -> None:
    failed = executor_pb2.Attempt(outcome=executor_pb2.OUTCOME_FAILED)
    whole = executor_pb2.Attempt(
        cost_nano_usd=1500,
        cost_parts=executor_pb2.CostParts(
            input_nano_usd=200, cached_nano_usd=100, output_nano_usd=1000, fees_nano_usd=200
        ),
        outcome=executor_pb2.OUTCOME_SUCCEEDED,
    )
    bounded = executor_pb2.Attempt(cost_nano_usd=900, outcome=executor_pb2.OUTCOME_PARTIAL)

    known = render.cost(executor_pb2.Report(attempts=[failed, whole, whole], cost_nano_usd=3000))
    unknown = render.cost(executor_pb2.Report(attempts=[bounded, whole], cost_nano_usd=2400))

    assert [4e-07, 2e-07, 2e-06, 4e-07] == [known[name] for name in PARTS]
    assert ([None] * 4, 2400) == ([unknown[name] for name in PARTS], unknown["nano_usd"])


def test_a_score_is_shown_with_where_it_was_published_and_when_it_was_read_there() -> None:
    score = selector_pb2.Benchmark(
        name="MMLU", score=80.123, source="https://example.org/scores", date="2026-11-01"
    )

    assert {
        "name": "MMLU",
        "score": 80.12,
        "source": "https://example.org/scores",
        "read": "2026-11-01",
    } == render.benchmark(score)
