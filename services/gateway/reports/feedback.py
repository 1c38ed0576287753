"""Feedback: what users think of answers, and the examples that the classifier learns from it.

Features are kept only where `switches.keep_features` says so; they are numbers, never text. What is exported is what
`services.classifier.training.refit` reads: requests for which the selector chose a fast model, that this very model
answered, and what the user thought of that answer.

Nothing but a user's verdict counts as an outcome, because nothing else in the ledger separates a weak model from a
strong one. A failed attempt, and the fallback after it, show a provider's bad moment. Silence is no praise. A repeat
is no complaint: clients retry, apps send the same template all day, and features are the same for every "go on".
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

import orjson

from services.chassis import errors
from services.chassis.candidates import UNPINNED
from services.gateway import postgres
from services.gateway.keys.permissions import Caller
from services.gateway.reports.portkey_feedback import PortkeyFeedback
from services.gateway.requests.feedback_request import Verdict
from services.gateway.requests.request_ids import age_s

BATCH = 1000
# The ledger writes the row of an answer a moment after it was given, so one that is not there yet is looked for again
# after each of these pauses, in seconds ...
PAUSES_S = (0.1, 0.2, 0.4, 0.8, 1.5)
# ... if its request is no older than this, in seconds: more than a request may take.
RECENT_S = 3600.0

# Only a request that was answered, of the same user, or of the same key where that has no user.
GIVE = """
INSERT INTO feedback (request_id, user_id, value, asked_at, weight, metadata)
SELECT request_id, user_id, $4, started_at, $5, $6 FROM usage_records
WHERE request_id = $1 AND user_id = $2 AND (user_id <> '' OR key_id = $3)
  AND kind IN ('final', 'partial', 'cached') LIMIT 1
ON CONFLICT (request_id) DO UPDATE
SET value = excluded.value, given_at = now(), weight = excluded.weight, metadata = excluded.metadata
RETURNING coalesce((SELECT s.trace_id FROM model_selections s WHERE s.request_id = $1 LIMIT 1), '')
"""
# The newest answer in a trace, which the caller named, or Lumni.
NEWEST = """
SELECT request_id FROM usage_records
WHERE request_id IN (
    SELECT request_id FROM usage_records WHERE metadata ? 'trace_id' AND metadata ->> 'trace_id' = $1
    UNION SELECT request_id FROM model_selections WHERE trace_id = $1 AND trace_id <> ''
  ) AND user_id = $2 AND (user_id <> '' OR key_id = $3) AND kind IN ('final', 'partial', 'cached')
ORDER BY started_at DESC LIMIT 1
"""
# Whole answers of the model that the selector chose for a fast request: a pinned model was the caller's choice, a
# fallback's answer says nothing of the model that failed, and where the most powerful permitted model answered, none
# stronger could have been needed.
EXAMPLES = """
SELECT f.request_id, c.version, c.features, c.strong_win_rate AS score, (f.value < 0)::int AS outcome
FROM feedback f
JOIN task_classifications c ON c.request_id = f.request_id AND c.user_id = f.user_id
JOIN model_selections s ON s.request_id = c.request_id AND s.decided_at = c.decided_at
JOIN usage_records u ON u.request_id = f.request_id AND u.kind = 'final'
WHERE c.features IS NOT NULL AND f.value <> 0
  AND s.tier = 'fast' AND s.strategy <> '' AND s.requested_model = ANY($3)
  AND u.model = s.chosen_model AND u.model <> s.baseline_model
  AND f.request_id > $1
ORDER BY f.request_id LIMIT $2
"""


class _Written(NamedTuple):
    """What a verdict was written for."""

    request_id: str
    # Empty where it is not known, or not yet.
    trace_id: str


class FeedbackStore:
    """Writes verdicts on answers, and reads the examples that they make."""

    def __init__(
        self,
        pool: postgres.Pool,
        pauses_s: Sequence[float] = PAUSES_S,
        *,
        portkey: PortkeyFeedback | None = None,
    ) -> None:
        """Keep verdicts.

        Args:
            pool: PostgreSQL.
            pauses_s: How long to wait for the row of an answer, each time, in seconds.
            portkey: Gets them too, if there is one.
        """
        self._pool = pool
        self._portkey = portkey
        self._pauses_s = pauses_s

    async def give(self, caller: Caller, verdict: Verdict) -> str:
        """Write a caller's verdict on an answer; a second one replaces the first. The id of the answer's request.

        Raises:
            Invalid: this is no request's id.
            NotFound: the caller's user got no such answer, or the ledger has not written it yet.
            Unavailable: PostgreSQL cannot take it.
        """
        # Of a trace nobody knows how old it is.
        recent = bool(verdict.trace_id) or _is_recent(verdict.request_id)
        written: _Written | None = None
        for pause_s in (0.0, *self._pauses_s) if recent else (0.0,):
            await asyncio.sleep(pause_s)
            written = await self._write(caller, verdict) or written
            # The row of the decision, which knows the trace, comes by another stream than the row of the answer.
            if written is not None and (written.trace_id or self._portkey is None):
                break
        if written is not None:
            if self._portkey is not None and written.trace_id:
                who = {"_user": caller.user_id} if caller.user_id else {}
                about = {**verdict.metadata, "requestId": written.request_id, **who}
                self._portkey.give(written.trace_id, verdict.value, about, weight=verdict.weight)
            return written.request_id
        name = "trace_id" if verdict.trace_id else "request_id"
        raise errors.NotFound(
            f"{name}: no answer of yours has this id; one just given may take a few seconds to be known",
            reason="REQUEST_NOT_FOUND",
            param=name,
        )

    async def _write(self, caller: Caller, verdict: Verdict) -> _Written | None:
        """Write a verdict; None where there is no answer that it could be about."""
        try:
            async with postgres.connection(self._pool) as connection:
                ident = verdict.request_id or await connection.fetchval(
                    NEWEST, verdict.trace_id, caller.user_id, caller.key_id
                )
                trace_id: str | None = await connection.fetchval(
                    GIVE,
                    ident,
                    caller.user_id,
                    caller.key_id,
                    verdict.value,
                    verdict.weight,
                    dict(verdict.metadata),
                )
        except postgres.ERRORS as error:
            raise errors.Unavailable("feedback cannot be kept at the moment", retry_after_s=1) from error
        return None if trace_id is None else _Written(ident, trace_id)

    async def examples(self, batch: int = BATCH) -> AsyncIterator[bytes]:
        """Every verdict that the classifier can learn from, with what was counted in its request, as JSON lines."""
        last = ""
        while True:
            async with postgres.connection(self._pool) as connection:
                rows = await connection.fetch(EXAMPLES, last, batch, UNPINNED)
            for row in rows:
                last = row["request_id"]
                example = {name: row[name] for name in ("version", "features", "score", "outcome")}
                yield orjson.dumps(example) + b"\n"
            if len(rows) < batch:
                return


def _is_recent(request_id: str) -> bool:
    try:
        return age_s(request_id) < RECENT_S
    except ValueError as error:
        raise errors.Invalid(
            "request_id: expected the x-request-id of the answer", param="request_id"
        ) from error
