"""The rows that the ledger writes, and what an event is read into before it is written as rows."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

# What the parts of a cost are; they add up to it, and all are null where nobody knows them.
COST_PARTS = ("input_cost_nano_usd", "cached_cost_nano_usd", "output_cost_nano_usd", "fees_nano_usd")
# What providers count of an attempt.
TOKEN_COLUMNS = (
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "audio_prompt_tokens",
    "audio_completion_tokens",
    "web_searches",
)
# The variant of an experiment that a request has.
ASSIGNMENT_COLUMNS = ("experiment_id", "variant", "experiment_unit")
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
    *TOKEN_COLUMNS,
    "cost_nano_usd",
    *COST_PARTS,
    "max_cost_nano_usd",
    "duration_ms",
    "first_chunk_ms",
    "status_code",
    "error_class",
    "metadata",
    "saved_nano_usd",
    "cache_result",
    *ASSIGNMENT_COLUMNS,
)
# What both rows of a decision begin with.
DECISION_COLUMNS = (
    "request_id",
    "decided_at",
    "key_id",
    "user_id",
    "organization_id",
    "plan",
)
CLASSIFICATION_COLUMNS = (
    *DECISION_COLUMNS,
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
    *DECISION_COLUMNS,
    "requested_model",
    "tier",
    "strategy",
    "reason",
    "candidates",
    "chosen_model",
    "chosen_input_nano_usd_per_mtok",
    "chosen_output_nano_usd_per_mtok",
    "baseline_model",
    "baseline_input_nano_usd_per_mtok",
    "baseline_output_nano_usd_per_mtok",
    "cheapest_model",
    "cheapest_input_nano_usd_per_mtok",
    "cheapest_output_nano_usd_per_mtok",
    "refusal",
    "degraded",
    "reasons",
    "asked",
    "trace_id",
    "configuration",
    *ASSIGNMENT_COLUMNS,
)
CHOICE_COLUMNS = (
    *DECISION_COLUMNS,
    "category",
    "level",
    *(
        f"{which}{part}"
        for which in ("", "current_", "learned_")
        for part in ("model", "probability", "quality")
    ),
    "turn",
    "previous_turn",
)


class Kind(StrEnum):
    """How sure the cost of an attempt is."""

    # The provider's own count.
    FINAL = "final"
    # A stream that was cut: an upper bound.
    PARTIAL = "partial"
    # Nothing was billed.
    FAILED = "failed"
    # The gateway answered from its cache, and no provider was asked.
    CACHED = "cached"
    # The end of the attempt never came: an upper bound, until it comes after all.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Started:
    """An attempt that is under way, or whose end got lost."""

    attempt_id: str
    request_id: str
    started_at: datetime
    event: bytes
    # How long after this is written its end must have come, in seconds.
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


@dataclass(frozen=True, slots=True)
class Decided:
    """What was decided about a request: rows in the order of their columns.

    There is no classification when it was refused before, and no choice where nothing can be learnt from it.
    """

    classification: tuple[Any, ...] | None
    selection: tuple[Any, ...]
    choice: tuple[Any, ...] | None = None


@dataclass(frozen=True, slots=True)
class Sum:
    """What a subject spent in a period; a higher version is a later truth."""

    subject: str
    period: str
    nano_usd: int
    version: int


class Poison(NamedTuple):
    """An event that cannot be written: the id of its entry, the reason, and the event itself."""

    entry_id: str
    reason: str
    event: bytes
