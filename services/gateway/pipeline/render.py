"""Protobuf messages as plain JSON, in the words of the contract."""

import time
from datetime import UTC, datetime
from typing import Any

from lumni.chat.v1 import chat_pb2
from lumni.classifier.v1 import classifier_pb2
from lumni.executor.v1 import executor_pb2
from lumni.selector.v1 import selector_pb2

from services.chassis.enums import word
from services.chassis.money import usd
from services.gateway.requests.assignment import Assignment

# When this process began to serve models, in seconds since 1970.
STARTED = int(time.time())


def assignment(given: Assignment | None) -> dict[str, Any] | None:
    """The variant of an experiment that a request had; None where it took part in none."""
    return None if given is None else {"name": given.experiment, "variant": given.variant}


def classification(judged: classifier_pb2.Classification) -> dict[str, Any]:
    """What was asked, and why the classifier thinks so."""
    return {
        "tier": word(classifier_pb2.Tier, judged.tier),
        "category": word(classifier_pb2.Category, judged.category),
        "subject": judged.subject or None,
        "strong_win_rate": round(judged.strong_win_rate, 4),
        "confidence": round(judged.confidence, 4),
        "language": judged.language or None,
        "prompt_tokens": judged.prompt_tokens,
        "long_context": judged.long_context,
        "factors": [
            {"name": f.name, "value": round(f.value, 4), "contribution": round(f.contribution, 4)}
            for f in judged.factors
        ],
        "version": judged.version or None,
    }


def candidate(one: selector_pb2.Candidate) -> dict[str, Any]:
    """A deployment that may be tried, with the parts of its score."""
    return {
        "deployment": one.deployment,
        "model": one.model,
        "provider": one.provider,
        "score": round(one.score, 4),
        "quality": round(one.quality, 4),
        "parts": {
            part.name: {"value": round(part.value, 4), "weight": round(part.weight, 4)} for part in one.parts
        },
        "benchmarks": [benchmark(b) for b in one.benchmarks],
        "only_on": word(chat_pb2.OnlyOn, one.only_on),
        "max_cost_usd": None if one.unpriced else usd(one.max_cost_nano_usd),
        "input_usd_per_mtok": None if one.unpriced else usd(one.input_nano_usd_per_mtok),
        "output_usd_per_mtok": None if one.unpriced else usd(one.output_nano_usd_per_mtok),
    }


def cost(report: executor_pb2.Report) -> dict[str, Any]:
    """What a call cost, and what its parts did; null where nobody knows the price of an attempt that may be billed.

    The parts are null, too, where only a bound of an attempt's cost is known.
    """
    unpriced = any(_is_unpriced(attempt) for attempt in report.attempts)
    billed = [one for one in report.attempts if one.outcome != executor_pb2.OUTCOME_FAILED]
    known = not unpriced and all(one.HasField("cost_parts") for one in billed)
    parts = [one.cost_parts for one in billed]
    shown: dict[str, Any] = {
        "usd": None if unpriced else usd(report.cost_nano_usd),
        "nano_usd": None if unpriced else report.cost_nano_usd,
        "input_usd": usd(sum(one.input_nano_usd for one in parts)) if known else None,
        "cached_usd": usd(sum(one.cached_nano_usd for one in parts)) if known else None,
        "output_usd": usd(sum(one.output_nano_usd for one in parts)) if known else None,
        "fees_usd": usd(sum(one.fees_nano_usd for one in parts)) if known else None,
        "estimated": report.estimated,
    }
    return {**shown, "unpriced": True} if unpriced else shown


def benchmark(one: selector_pb2.Benchmark) -> dict[str, Any]:
    """A score with who answers for it and how sure it is."""
    shown: dict[str, Any] = {"name": one.name, "score": round(one.score, 2), "source": one.source or None}
    if one.publisher:
        shown["by"] = word(selector_pb2.Publisher, one.publisher)
    if one.published:
        shown["published"] = one.published
    if one.date:
        shown["read"] = one.date
    if one.imputed:
        shown["imputed"] = True
    if one.uncertainty:
        shown["uncertainty"] = round(one.uncertainty, 2)
    return shown


def selection(chosen: selector_pb2.Selection) -> dict[str, Any]:
    """Who may answer, in order, and why."""
    return {
        "tier": word(classifier_pb2.Tier, chosen.tier),
        "reason": chosen.reason,
        "strategy": chosen.strategy or None,
        "threshold": round(chosen.threshold, 4),
        "candidates": [candidate(one) for one in chosen.candidates],
        "removed": {removal.filter: list(removal.models) for removal in chosen.removals},
    }


def model(one: selector_pb2.Model) -> dict[str, Any]:
    """A model in OpenAI's shape, with what the catalog knows beside it."""
    return {
        "id": one.name,
        "object": "model",
        "created": created(one.release),
        "owned_by": one.organization or (one.providers[0] if one.providers else "unknown"),
        "lumni": {
            "catalog_id": one.catalog_id or None,
            "context_window": one.context_window or None,
            "max_output_tokens": one.max_output_tokens or None,
            "capabilities": list(one.capabilities),
            "input_usd_per_mtok": None if one.unpriced else usd(one.input_nano_usd_per_mtok),
            "output_usd_per_mtok": None if one.unpriced else usd(one.output_nano_usd_per_mtok),
            "benchmarks": [benchmark(b) for b in one.benchmarks],
            "providers": list(one.providers),
            "available": one.available,
        },
    }


def created(release: str) -> int:
    """When a model came out, in seconds since 1970; where nobody knows, when it began to be served here.

    Args:
        release: YYYY-MM-DD, or a shorter prefix of it.

    """
    try:
        year, month, day = (*map(int, release.split("-")), 1, 1)[:3]
        return int(datetime(year, month, day, tzinfo=UTC).timestamp())
    except ValueError:
        # An operator's own entry may hold any text.
        return STARTED


def attempts(report: executor_pb2.Report) -> list[dict[str, Any]]:
    """What was tried."""
    return [
        {
            "deployment": attempt.deployment,
            "model": attempt.model,
            "provider": attempt.provider,
            "outcome": word(executor_pb2.Outcome, attempt.outcome),
            "error": attempt.error_class or None,
            "duration_ms": round(attempt.duration_ms, 2),
            "cost_usd": None if _is_unpriced(attempt) else usd(attempt.cost_nano_usd),
        }
        for attempt in report.attempts
    ]


def _is_unpriced(attempt: executor_pb2.Attempt) -> bool:
    """Whether nobody knows what an attempt cost; one that failed cost nothing at any price."""
    return attempt.unpriced and attempt.outcome != executor_pb2.OUTCOME_FAILED
