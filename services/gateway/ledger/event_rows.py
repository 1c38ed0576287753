"""Usage and decision events, read from protobuf into rows; a cut stream becomes a row of the kind `partial`."""

from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.message import DecodeError
from lumni.chat.v1 import chat_pb2
from lumni.classifier.v1 import classifier_pb2
from lumni.events.v1 import events_pb2
from lumni.executor.v1 import executor_pb2
from lumni.selector.v1 import selector_pb2

from services.chassis.candidates import UNPINNED
from services.chassis.enums import word
from services.gateway import savings
from services.gateway.keys.permissions import MIRROR
from services.gateway.ledger.rows import Decided, Ended, Kind, Started

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
KINDS = {
    events_pb2.USAGE_KIND_FINAL: Kind.FINAL,
    events_pb2.USAGE_KIND_PARTIAL: Kind.PARTIAL,
    events_pb2.USAGE_KIND_FAILED: Kind.FAILED,
    events_pb2.USAGE_KIND_CACHED: Kind.CACHED,
}
# Version, trace id, parent id and flags.
TRACEPARENT_PARTS = 4
# No request lasts longer, whatever its deadline says, in seconds.
LONGEST_S = 7200.0


class PoisonError(ValueError):
    """An event that cannot be written, and why."""


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
            attempt.id, message.context.request_id, started_at, event, min(max(left_s, 0.0), LONGEST_S)
        )
    kind = KINDS.get(message.kind)
    if kind is None:
        raise PoisonError(f"kind {message.kind} is not known")
    return _ended(message, kind, attempt.cost_nano_usd, started_at)


def unknown(event: bytes) -> Ended:
    """Close an attempt whose end never came, at the most it can have cost.

    Raises:
        PoisonError: as `usage`.
    """
    message = _parsed(events_pb2.UsageEvent(), event)
    bound = message.max_cost_nano_usd
    return _ended(message, Kind.UNKNOWN, bound, _moment(message.attempt.started_unix_us))


def _ended(message: events_pb2.UsageEvent, kind: Kind, cost: int, started_at: datetime) -> Ended:
    context, attempt, used = message.context, message.attempt, message.attempt.usage
    admitted_at = _moment(context.admitted_unix_ms * 1000) if context.admitted_unix_ms else started_at
    row: tuple[Any, ...] = (
        attempt.id,
        started_at,
        admitted_at,
        context.request_id,
        kind.value,
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
        attempt.estimated or kind is Kind.UNKNOWN,
        used.prompt_tokens,
        used.completion_tokens,
        used.cached_tokens,
        used.cache_write_tokens,
        used.reasoning_tokens,
        used.audio_prompt_tokens,
        used.audio_completion_tokens,
        used.web_searches,
        None if attempt.unpriced and kind is not Kind.FAILED else cost,
        *_cost_parts(attempt, kind),
        message.max_cost_nano_usd,
        attempt.duration_ms,
        attempt.first_chunk_ms,
        attempt.status_code,
        attempt.error_class,
        dict(context.metadata),
        message.saved_nano_usd,
        message.cache_result,
        *_assignment(context),
    )
    return Ended(attempt.id, context.request_id, row, last=kind in (Kind.FINAL, Kind.CACHED))


def _cost_parts(attempt: executor_pb2.Attempt, kind: Kind) -> tuple[int | None, ...]:
    """What the parts of an attempt cost: input, cached, output, fees; null where nobody knows that."""
    known = kind is Kind.FAILED or (attempt.HasField("cost_parts") and not attempt.unpriced)
    parts = attempt.cost_parts
    costs = (parts.input_nano_usd, parts.cached_nano_usd, parts.output_nano_usd, parts.fees_nano_usd)
    return costs if known else (None,) * len(costs)


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
    classified, chosen = message.classification, message.selection
    baseline, cheapest = savings.most_powerful(chosen.candidates), savings.cheapest(chosen.candidates)
    first = chosen.candidates[0] if chosen.candidates else selector_pb2.Candidate()
    classification = (
        *who,
        word(classifier_pb2.Tier, classified.tier) or "",
        word(classifier_pb2.Category, classified.category) or "",
        classified.subject,
        classified.language,
        classified.strong_win_rate,
        classified.confidence,
        classified.prompt_tokens,
        classified.version,
        list(classified.features) or None,
    )
    selection = (
        *who,
        message.requested_model,
        word(classifier_pb2.Tier, chosen.tier) or "",
        chosen.strategy,
        chosen.reason,
        [one.deployment for one in chosen.candidates],
        first.model,
        *_list_price(first, unknown=_pins_another(message, first)),
        baseline.model,
        *_list_price(baseline),
        cheapest.model,
        *_list_price(cheapest),
        message.refusal,
        list(message.degraded),
        _reasons(message),
        message.asked.SerializeToString() if message.HasField("asked") else None,
        _trace_id(context.traceparent),
        message.configuration,
        *_assignment(context),
    )
    choice = (*who, *_choice(message)) if _may_teach(message) else None
    return Decided(classification if message.HasField("classification") else None, selection, choice)


def _may_teach(message: events_pb2.DecisionEvent) -> bool:
    """Whether something can be learnt from a decision: the selector chose, and a user saw the answer."""
    return (
        not message.refusal
        and message.asked.circumstances.HasField("learning")
        and not message.context.key_id.startswith(MIRROR)
    )


def _choice(message: events_pb2.DecisionEvent) -> tuple[Any, ...]:
    asked, learning = message.asked, message.asked.circumstances.learning
    return (
        word(classifier_pb2.Category, message.classification.category) or "other",
        learning.level,
        *(
            part
            for one in (learning.chosen, learning.current, learning.learned)
            for part in (one.model, one.probability, one.quality)
        ),
        asked.turn if asked.HasField("turn") else None,
        asked.previous_turn if asked.HasField("previous_turn") else None,
    )


def _reasons(decided: events_pb2.DecisionEvent) -> bytes | None:
    """What led to a decision, as it came: taking it apart for columns would cost more than all else of its row.

    The benchmarks of the first candidate stay, for they are what the reason names.
    """
    if not decided.selection.candidates:
        return None
    kept = events_pb2.DecisionEvent(selection=decided.selection)
    for one in kept.selection.candidates[1:]:
        one.ClearField("benchmarks")
    kept.classification.factors.extend(decided.classification.factors)
    return kept.SerializeToString()


def _assignment(context: chat_pb2.RequestContext) -> tuple[str, str, int | None]:
    """The experiment, the variant, and who stays with it; null for a request that takes part in none."""
    assigned = context.assignment
    return assigned.experiment_id, assigned.variant, assigned.unit if context.HasField("assignment") else None


def _pins_another(message: events_pb2.DecisionEvent, first: selector_pb2.Candidate) -> bool:
    """Whether the first candidate stands for a pinned model that was out, or may do so."""
    return message.requested_model not in UNPINNED and message.selection.pinned != first.model


def _list_price(
    model: selector_pb2.Candidate, *, unknown: bool = False
) -> tuple[int, int] | tuple[None, None]:
    """Input and output; None where nobody knows them."""
    if model.unpriced or unknown:
        return None, None
    return model.input_nano_usd_per_mtok, model.output_nano_usd_per_mtok


def _trace_id(traceparent: str) -> str:
    """The trace's id in a W3C traceparent; empty when there is none."""
    parts = traceparent.split("-")
    return parts[1] if len(parts) == TRACEPARENT_PARTS else ""


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
