"""What the ledger writes of an event: rows, in the words of the tables."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.message import DecodeError
from lumni.classifier.v1 import classifier_pb2
from lumni.events.v1 import events_pb2
from lumni.executor.v1 import executor_pb2
from lumni.selector.v1 import selector_pb2

from services.chassis.enums import word

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
KINDS = {
    events_pb2.USAGE_KIND_FINAL: "final",
    events_pb2.USAGE_KIND_PARTIAL: "partial",
    events_pb2.USAGE_KIND_FAILED: "failed",
}

USAGE_COLUMNS = (
    "attempt_id",
    "started_at",
    "admitted_at",
    "request_id",
    "kind",
    "tenant",
    "key_id",
    "user_id",
    "organization_id",
    "plan",
    "deployment",
    "model",
    "provider",
    "operation",
    "category",
    "tier",
    "stream",
    "estimated",
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "audio_prompt_tokens",
    "audio_completion_tokens",
    "cost_nano_usd",
    "max_cost_nano_usd",
    "duration_ms",
    "first_chunk_ms",
    "status_code",
    "error_class",
    "labels",
)
CLASSIFICATION_COLUMNS = (
    "request_id",
    "decided_at",
    "key_id",
    "user_id",
    "organization_id",
    "plan",
    "tier",
    "category",
    "subject",
    "language",
    "strong_win_rate",
    "confidence",
    "prompt_tokens",
    "version",
    "features",
)
SELECTION_COLUMNS = (
    "request_id",
    "decided_at",
    "key_id",
    "user_id",
    "organization_id",
    "plan",
    "requested_model",
    "tier",
    "strategy",
    "reason",
    "candidates",
    "chosen_model",
    "baseline_model",
    "baseline_input_nano_usd_per_mtok",
    "baseline_output_nano_usd_per_mtok",
    "refusal",
    "degraded",
)


class PoisonError(ValueError):
    """An event that cannot be booked, and why."""


@dataclass(frozen=True, slots=True)
class Started:
    """An attempt that is under way, or whose end got lost."""

    attempt_id: str
    request_id: str
    started_at: datetime
    event: bytes
    # How long after it is heard of its end must have come, in seconds.
    lasts_s: float


@dataclass(frozen=True, slots=True)
class Ended:
    """How an attempt ended: a row of usage_records, in the order of its columns."""

    attempt_id: str
    request_id: str
    row: tuple[Any, ...]
    # No further attempt follows in this request.
    last: bool

    @property
    def number(self) -> str:
        """The attempt's number within its request."""
        return self.attempt_id.rpartition("/")[2]


def usage(event: bytes) -> Started | Ended:
    """Read a usage event.

    Raises:
        PoisonError: it is none, or lacks what identifies it.
    """
    message = _parsed(events_pb2.UsageEvent(), event)
    attempt = message.attempt
    if not attempt.id or not message.context.request_id:
        raise PoisonError("attempt.id or context.request_id is missing")
    if attempt.started_unix_us <= 0:
        raise PoisonError("attempt.started_unix_us is missing")
    started_at = _moment(attempt.started_unix_us)
    if message.kind == events_pb2.USAGE_KIND_STARTED:
        left_s = message.context.deadline_unix_ms / 1000 - attempt.started_unix_us / 1e6
        return Started(
            attempt.id, message.context.request_id, started_at, event, min(max(left_s, 0.0), 7200.0)
        )
    kind = KINDS.get(message.kind)
    if kind is None:
        raise PoisonError(f"kind {message.kind} is not known")
    return _ended(message, kind, attempt.cost_nano_usd, started_at)


def unknown(event: bytes) -> Ended:
    """Close an attempt whose end nobody told, at the most it can have cost."""
    message = _parsed(events_pb2.UsageEvent(), event)
    bound = message.max_cost_nano_usd
    return _ended(message, "unknown", bound, _moment(message.attempt.started_unix_us))


def _ended(message: events_pb2.UsageEvent, kind: str, cost: int, started_at: datetime) -> Ended:
    context, attempt, used = message.context, message.attempt, message.attempt.usage
    admitted_at = _moment(context.admitted_unix_ms * 1000) if context.admitted_unix_ms else started_at
    row: tuple[Any, ...] = (
        attempt.id,
        started_at,
        admitted_at,
        context.request_id,
        kind,
        context.tenant,
        context.key_id,
        context.user_id,
        context.organization_id,
        context.plan,
        attempt.deployment,
        attempt.model,
        attempt.provider,
        word(executor_pb2.Operation, message.operation) or "chat",
        word(classifier_pb2.Category, message.category) or "",
        word(classifier_pb2.Tier, message.tier) or "",
        message.stream,
        attempt.estimated or kind == "unknown",
        used.prompt_tokens,
        used.completion_tokens,
        used.cached_tokens,
        used.cache_write_tokens,
        used.reasoning_tokens,
        used.audio_prompt_tokens,
        used.audio_completion_tokens,
        cost,
        message.max_cost_nano_usd,
        attempt.duration_ms,
        attempt.first_chunk_ms,
        attempt.status_code,
        attempt.error_class,
        {},
    )
    return Ended(attempt.id, context.request_id, row, last=kind == "final")


@dataclass(frozen=True, slots=True)
class Decided:
    """What was decided about a request: rows in the order of their columns; no classification when refused before."""

    classification: tuple[Any, ...] | None
    selection: tuple[Any, ...]


def decision(event: bytes) -> Decided:
    """Read a decision event.

    Raises:
        PoisonError: it is none, or lacks what identifies it.
    """
    message = _parsed(events_pb2.DecisionEvent(), event)
    context = message.context
    if not context.request_id or message.decided_unix_ms <= 0:
        raise PoisonError("context.request_id or decided_unix_ms is missing")
    decided_at = _moment(message.decided_unix_ms * 1000)
    who = (
        context.request_id,
        decided_at,
        context.key_id,
        context.user_id,
        context.organization_id,
        context.plan,
    )
    judged, chosen = message.classification, message.selection
    baseline = most_powerful(chosen.candidates)
    classification = (
        *who,
        word(classifier_pb2.Tier, judged.tier) or "",
        word(classifier_pb2.Category, judged.category) or "",
        judged.subject,
        judged.language,
        judged.strong_win_rate,
        judged.confidence,
        judged.prompt_tokens,
        judged.version,
        list(judged.features) or None,
    )
    selection = (
        *who,
        message.requested_model,
        word(classifier_pb2.Tier, chosen.tier) or "",
        chosen.strategy,
        chosen.reason,
        [one.deployment for one in chosen.candidates],
        chosen.candidates[0].model if chosen.candidates else "",
        baseline.model,
        baseline.input_nano_usd_per_mtok,
        baseline.output_nano_usd_per_mtok,
        message.refusal,
        list(message.degraded),
    )
    return Decided(classification if message.HasField("classification") else None, selection)


def most_powerful(candidates: Iterable[selector_pb2.Candidate]) -> selector_pb2.Candidate:
    """The best of the models that were allowed: what somebody without a router would have called."""
    return max(
        candidates,
        key=lambda one: (one.quality, one.output_nano_usd_per_mtok, one.input_nano_usd_per_mtok),
        default=selector_pb2.Candidate(),
    )


def _parsed(message: Any, event: bytes) -> Any:
    try:
        message.ParseFromString(event)
    except DecodeError as error:
        raise PoisonError("it is no protobuf message of its kind") from error
    return message


def _moment(microseconds: int) -> datetime:
    try:
        return EPOCH + timedelta(microseconds=microseconds)
    except OverflowError as error:
        raise PoisonError(f"{microseconds} us since 1970 is no moment") from error
