"""Requests one by one, from the ledger's tables: a list to search in, and everything that is known of one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from services.gateway.reports.readers import Readers

# Requests on one page of a list.
PAGE = 50
# Answers, the newest ones of a period, that percentiles of latency are made of.
SAMPLE = 10_000


class Outcome(StrEnum):
    """How a request ended."""

    # Some attempt gave a whole answer, or the cache did.
    ANSWERED = "answered"
    # It took more than one attempt.
    RETRIED = "retried"
    # There were attempts, and no whole answer.
    FAILED = "failed"
    # No provider was asked.
    REFUSED = "refused"


# The kinds of attempts that gave a whole answer.
_WHOLE = ("final", "cached")
# What a row of usage_records, the first attempt of its request, must fulfil for an outcome.
_OTHER = "EXISTS (SELECT FROM usage_records o WHERE o.request_id = r.request_id AND {})"
_CONDITIONS: Mapping[Outcome, str] = {
    Outcome.ANSWERED: _OTHER.format(f"o.kind IN {_WHOLE}"),
    Outcome.RETRIED: _OTHER.format("o.attempt_id <> r.attempt_id"),
    Outcome.FAILED: "NOT " + _OTHER.format(f"o.kind IN {_WHOLE}"),
}
# What may be searched for, in a first attempt `r` and in a decision `r` that refused; $n is the value.
_FILTERS: Mapping[str, tuple[str, str]] = {
    "user_id": ("r.user_id = {}", "r.user_id = {}"),
    "key_id": ("r.key_id = {}", "r.key_id = {}"),
    "organization_id": ("r.organization_id = {}", "r.organization_id = {}"),
    "model": (
        _OTHER.format("o.model = {}"),
        "r.requested_model = {}",
    ),
    "category": (
        "r.category = {}",
        "EXISTS (SELECT FROM task_classifications c WHERE c.request_id = r.request_id AND c.category = {})",
    ),
}
FILTERS = frozenset(_FILTERS)

# Each of the two halves reads its index backwards until it has a page.
_FOUND = """
SELECT request_id, at, who.* FROM (
    (SELECT r.request_id, r.started_at AS at FROM usage_records r
     WHERE r.attempt_id = r.request_id || '/1' AND r.started_at >= $1
       AND (r.started_at, r.request_id) < ($2, $3) AND {attempts}
     ORDER BY r.started_at DESC, r.request_id DESC LIMIT $4)
    UNION ALL
    (SELECT r.request_id, r.decided_at FROM model_selections r
     WHERE r.refusal <> '' AND r.decided_at >= $1
       AND (r.decided_at, r.request_id) < ($2, $3) AND {refusals}
     ORDER BY r.decided_at DESC, r.request_id DESC LIMIT $4)
) AS found
LEFT JOIN LATERAL (
    SELECT count(*) AS attempts, sum(u.cost_nano_usd)::bigint AS cost_nano_usd,
           bool_or(u.cost_nano_usd IS NULL) AS unpriced, bool_or(u.kind IN {whole}) AS answered,
           sum(u.prompt_tokens)::bigint AS prompt_tokens, sum(u.completion_tokens)::bigint AS completion_tokens,
           extract(epoch FROM max(u.started_at + u.duration_ms * interval '1 ms') - min(u.started_at))::float8 * 1000
               AS duration_ms,
           (array_agg(u.model ORDER BY u.started_at DESC))[1] AS model,
           min(u.user_id) AS user_id, min(u.key_id) AS key_id, min(u.category) AS category, min(u.tier) AS tier
    FROM usage_records u WHERE u.request_id = found.request_id
) AS used ON true
LEFT JOIN LATERAL (
    SELECT s.refusal, s.requested_model, s.user_id AS decided_user, s.key_id AS decided_key, s.degraded,
           s.tier AS decided_tier
    FROM model_selections s WHERE s.request_id = found.request_id LIMIT 1
) AS decided ON true
CROSS JOIN LATERAL (
    SELECT coalesce(used.attempts, 0) AS attempts, used.cost_nano_usd, coalesce(used.unpriced, false) AS unpriced,
           coalesce(used.answered, false) AS answered, coalesce(used.prompt_tokens, 0) AS prompt_tokens,
           coalesce(used.completion_tokens, 0) AS completion_tokens, used.duration_ms,
           coalesce(used.model, '') AS model, coalesce(used.category, '') AS category,
           coalesce(used.user_id, decided.decided_user, '') AS user_id,
           coalesce(used.key_id, decided.decided_key, '') AS key_id,
           coalesce(used.tier, decided.decided_tier, '') AS tier,
           coalesce(decided.refusal, '') AS refusal, coalesce(decided.requested_model, '') AS requested_model,
           coalesce(decided.degraded, '{{}}') AS degraded
) AS who
ORDER BY at DESC, request_id DESC LIMIT $4
"""
_ATTEMPTS = "SELECT * FROM usage_records WHERE request_id = $1 ORDER BY started_at, attempt_id"
_SELECTION = "SELECT * FROM model_selections WHERE request_id = $1 LIMIT 1"
_CLASSIFICATION = """
SELECT tier, category, subject, language, strong_win_rate, confidence, prompt_tokens, version
FROM task_classifications WHERE request_id = $1 LIMIT 1
"""
_FEEDBACK = "SELECT value FROM feedback WHERE request_id = $1"
_OF_TRACE = "SELECT request_id FROM model_selections WHERE trace_id = $1 AND trace_id <> '' LIMIT 1"
_LATENCY = """
SELECT count(*) AS answers,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY duration_ms) AS p50_ms,
       percentile_cont(0.95) WITHIN GROUP (ORDER BY duration_ms) AS p95_ms,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY first_chunk_ms) FILTER (WHERE first_chunk_ms > 0) AS first_p50_ms,
       percentile_cont(0.95) WITHIN GROUP (ORDER BY first_chunk_ms) FILTER (WHERE first_chunk_ms > 0) AS first_p95_ms
FROM (
    SELECT duration_ms, first_chunk_ms FROM usage_records WHERE started_at >= $1 AND kind = 'final'
    ORDER BY started_at DESC LIMIT $2
) AS newest
"""
_REFUSED = (
    "SELECT count(*) FROM model_selections WHERE refusal <> '' AND decided_at >= $1 AND decided_at < $2"
)


@dataclass(frozen=True, slots=True)
class RequestQuery:
    """Which requests are wanted: from `since` on, and before a moment; at that moment, those with a lesser id."""

    since: datetime
    before: datetime
    before_id: str = ""
    outcome: Outcome | None = None
    # By the names in FILTERS.
    only: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Latency:
    """How long answers took, in milliseconds; None where there were none. The first chunk is that of streams."""

    answers: int
    p50_ms: float | None
    p95_ms: float | None
    first_p50_ms: float | None
    first_p95_ms: float | None


@dataclass(frozen=True, slots=True)
class Story:
    """Everything that is known of one request: rows of the ledger's tables."""

    request_id: str
    attempts: list[dict[str, Any]]
    # None where the decision was not, or not yet, written.
    selection: dict[str, Any] | None
    classification: dict[str, Any] | None
    # What its user thought of the answer, -10 to 10.
    feedback: int | None

    @property
    def answered(self) -> bool:
        """Whether some attempt gave a whole answer, or the cache did."""
        return any(row["kind"] in _WHOLE for row in self.attempts)


class RequestReports:
    """Reads requests."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    async def find(self, wanted: RequestQuery) -> list[dict[str, Any]]:
        """One page of requests, the newest first, and the first of the next page.

        Raises:
            Unavailable: the database does not answer, or not in time.
        """
        values: list[Any] = [wanted.since, wanted.before, wanted.before_id, PAGE + 1]
        attempts, refusals = ["true"], ["true"]
        for name, value in wanted.only.items():
            values.append(value)
            for conditions, text in zip((attempts, refusals), _FILTERS[name], strict=True):
                conditions.append(text.format(f"${len(values)}"))
        if wanted.outcome is Outcome.REFUSED:
            attempts.append("false")
        elif wanted.outcome is not None:
            attempts.append(_CONDITIONS[wanted.outcome])
            refusals.append("false")
        statement = _FOUND.format(
            attempts=" AND ".join(attempts), refusals=" AND ".join(refusals), whole=_WHOLE
        )
        async with self._readers.connection() as connection:
            return [dict(row) for row in await connection.fetch(statement, *values)]

    async def story(self, request_id: str) -> Story | None:
        """What is known of one request; None where nothing is.

        Raises:
            Unavailable: as `find`.
        """
        async with self._readers.connection() as connection:
            attempts = await connection.fetch(_ATTEMPTS, request_id)
            selection = await connection.fetchrow(_SELECTION, request_id)
            classification = await connection.fetchrow(_CLASSIFICATION, request_id)
            feedback = await connection.fetchval(_FEEDBACK, request_id)
        if not attempts and selection is None:
            return None
        return Story(
            request_id,
            [dict(row) for row in attempts],
            dict(selection) if selection else None,
            dict(classification) if classification else None,
            feedback,
        )

    async def of_trace(self, trace_id: str) -> str | None:
        """The id of the request that left a trace; None where none is known to.

        Raises:
            Unavailable: as `find`.
        """
        async with self._readers.connection() as connection:
            found: str | None = await connection.fetchval(_OF_TRACE, trace_id)
        return found

    async def latency(self, since: datetime) -> Latency:
        """How long the newest `SAMPLE` answers took.

        Raises:
            Unavailable: as `find`.
        """
        async with self._readers.connection() as connection:
            row = await connection.fetchrow(_LATENCY, since, SAMPLE)
        assert row is not None
        return Latency(**row)

    async def refused(self, since: datetime, until: datetime) -> int:
        """How many requests were refused, so that no provider was asked.

        Raises:
            Unavailable: as `find`.
        """
        async with self._readers.connection() as connection:
            return int(await connection.fetchval(_REFUSED, since, until))
