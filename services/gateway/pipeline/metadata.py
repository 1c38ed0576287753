"""What Lumni adds to an answer: the `lumni` object in its body, and `x-lumni-*` headers."""

import time
from typing import Any

import orjson
from lumni.classifier.v1 import classifier_pb2
from lumni.executor.v1 import executor_pb2
from lumni.selector.v1 import selector_pb2

from services.chassis import telemetry
from services.chassis.enums import word
from services.chassis.operations import Operation
from services.gateway.limits.admission import Admission
from services.gateway.pipeline import render
from services.gateway.pipeline.decision import Decision


def summary(decision: Decision, report: executor_pb2.Report) -> dict[str, Any]:
    """The `lumni` object of an answer."""
    winner = report.attempts[-1] if report.attempts else executor_pb2.Attempt()
    chosen = next(
        (one for one in decision.selection.candidates if one.deployment == winner.deployment),
        selector_pb2.Candidate(),
    )
    total = (time.perf_counter() - decision.began) * 1000
    return {
        "request_id": decision.request_id,
        "trace_id": telemetry.trace_id() or None,
        "configuration": decision.configuration or None,
        "prompt": decision.prompt or None,
        "experiment": render.assignment(decision.assignment),
        "system_prompts": [rule.shown for rule in decision.system_prompts],
        "classification": render.classification(decision.classification),
        "selection": {
            "tier": word(classifier_pb2.Tier, decision.selection.tier),
            "reason": decision.selection.reason,
            "strategy": decision.selection.strategy or None,
            "candidates": [one.deployment for one in decision.selection.candidates],
        },
        "model": winner.model,
        "deployment": winner.deployment,
        "provider": winner.provider,
        "benchmark": render.benchmark(chosen.benchmarks[0]) if chosen.benchmarks else None,
        "cost": render.cost(report),
        "dropped": list(winner.dropped),
        "attempts": render.attempts(report),
        "latency_ms": {
            "total": round(total, 2),
            "classify": round(decision.classify_ms, 2),
            "select": round(decision.select_ms, 2),
            "provider": round(report.timing.provider_ms, 2),
            "overhead": round(total - report.timing.provider_ms, 2),
        },
        "degraded": decision.degraded,
    }


def headers(
    decision: Decision, admission: Admission, report: executor_pb2.Report | None = None
) -> dict[str, str]:
    """The same in short, as headers, with those of the limits; a stream that begins has no report yet."""
    shown: dict[str, str | None] = {
        "x-lumni-trace-id": telemetry.trace_id(),
        "x-lumni-tier": word(classifier_pb2.Tier, decision.selection.tier),
        "x-lumni-category": word(classifier_pb2.Category, decision.classification.category),
        "x-lumni-degraded": ",".join(decision.degraded),
        **admission.headers,
    }
    if report is not None and report.attempts:
        shown |= {
            "x-lumni-deployment": report.attempts[-1].deployment,
            "x-lumni-attempts": str(len(report.attempts)),
        }
        cost = render.cost(report)
        shown["x-lumni-cost-usd"] = None if cost["usd"] is None else f"{cost['usd']:.9f}"
        shown["x-lumni-unpriced"] = "true" if "unpriced" in cost else None
    return {name: value for name, value in shown.items() if value}


def added(body: str, lumni: dict[str, Any]) -> str:
    """A JSON object with `lumni` before its final brace; the rest stays as the provider's bytes."""
    head = body.rstrip()
    own = orjson.dumps({"lumni": lumni}).decode()
    comma = "" if head[:-1].rstrip().endswith("{") else ","
    return f"{head[:-1]}{comma}{own[1:]}"


def last_chunk(operation: Operation, chunk: str | None, decision: Decision, lumni: dict[str, Any]) -> str:
    """The chunk that ends a stream with `lumni`; one without choices where none came that could carry it."""
    if chunk is not None and operation is Operation.RESPONSES:
        # Where an answer without a stream has it, too.
        event = orjson.loads(chunk)
        event.get("response", event)["lumni"] = lumni
        return orjson.dumps(event).decode()
    return added(chunk or _empty_chunk(operation, decision), lumni)


def _empty_chunk(operation: Operation, decision: Decision) -> str:
    legacy = operation is Operation.COMPLETIONS
    chunk: dict[str, Any] = {
        "id": f"{'cmpl' if legacy else 'chatcmpl'}-{decision.request_id}",
        "object": "text_completion" if legacy else "chat.completion.chunk",
        "created": int(time.time()),
        "model": "",
        "choices": [],
    }
    return orjson.dumps(chunk).decode()
