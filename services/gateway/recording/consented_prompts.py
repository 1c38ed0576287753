"""Kept prompts that other models may be asked, to evaluate them: where a plan allowed it, and still does."""

from dataclasses import dataclass
from typing import Any

from services.chassis import errors
from services.gateway import postgres
from services.gateway.config.live import Live
from services.gateway.config.plans import Plans
from services.gateway.recording.text_store import TextStore
from services.gateway.reports.time_range import TimeRange

# Of the newest ones so many are drawn from.
MOST = 20_000
# Candidates for each prompt that is wanted: some have pictures or tools, or belong to one conversation.
CANDIDATES = 4

# The request's plan allowed it when it came (`may_evaluate`) and still does, as do its key and the plan of that now.
_CONSENTED = """
FROM request_texts t
JOIN task_classifications c ON c.request_id = t.request_id
LEFT JOIN virtual_keys k ON k.key_id = c.key_id
WHERE t.may_evaluate AND t.expires_at > now()
  AND c.plan = ANY($1) AND coalesce(k.plan, c.plan) = ANY($1)
  AND k.store_prompts IS NOT FALSE AND coalesce(cardinality(k.models), 0) = 0
  AND NOT EXISTS (SELECT FROM erasures e WHERE e.user_id = t.user_id AND e.erased_at >= t.asked_at)
"""
_DRAW = f"""
SELECT request_id, category FROM (
    SELECT request_id, category,
           row_number() OVER (PARTITION BY category ORDER BY md5($4 || '/' || request_id), request_id) AS place
    FROM (
        SELECT t.request_id, c.category {_CONSENTED}
          AND c.decided_at >= $2 AND c.decided_at < $3
        ORDER BY c.decided_at DESC LIMIT {MOST}
    ) AS newest
) AS drawn
WHERE place <= $5
ORDER BY place, category
"""  # noqa: S608  (nothing of a caller's is in it)
_ONE = f"SELECT c.category, c.strong_win_rate {_CONSENTED} AND t.request_id = $2 LIMIT 1"


@dataclass(frozen=True, slots=True)
class Draw:
    """Which prompts are wanted: of each category so many, drawn at random by a seed; of all plans or of one."""

    times: TimeRange
    each: int
    seed: str
    plan: str = ""


class ConsentedPrompts:
    """Draws and reads them.

    Args:
        pool: PostgreSQL.
        texts: Where they are kept; None where none are.
        plans: Whose prompts may be evaluated.

    """

    def __init__(self, pool: postgres.Pool, texts: TextStore | None, plans: Live[Plans]) -> None:
        self._pool = pool
        self._texts = texts
        self._plans = plans

    async def drawn(self, draw: Draw) -> dict[str, Any]:
        """The plans that allow it, and ids with their categories, in the order in which they were drawn.

        Raises:
            Conflict: no plan, or not this one, allows it, or no texts are kept.
            Unavailable: PostgreSQL does not answer.
        """
        allowed = self._allowed()
        if draw.plan and draw.plan not in allowed:
            raise errors.Conflict(
                f"the plan {draw.plan!r} does not let prompts be evaluated: evaluate_prompts in lumni.yaml",
                reason="NO_CONSENT",
            )
        if not allowed:
            raise errors.Conflict(
                "no plan lets prompts be evaluated, which sends what users wrote to other models: "
                "set evaluate_prompts: true in the plans of lumni.yaml that may",
                reason="NO_CONSENT",
            )
        if self._texts is None:
            raise errors.Conflict(
                "no prompts are kept: LUMNI_PROMPTS_KEY is not set", reason="PROMPTS_NOT_KEPT"
            )
        plans = [draw.plan] if draw.plan else allowed
        most = CANDIDATES * draw.each
        rows = await self._fetch(_DRAW, plans, draw.times.since, draw.times.until, draw.seed, most)
        return {"plans": plans, "data": [dict(row) for row in rows]}

    async def read(self, request_id: str) -> dict[str, Any]:
        """One prompt: its category, how hard it was taken to be (0 to 1), and the body; None for one that was cut.

        Raises:
            NotFound: it may not be evaluated, or not any more: it is gone, or its user or plan.
            Unavailable: PostgreSQL does not answer.
        """
        rows = await self._fetch(_ONE, self._allowed(), request_id)
        texts = await self._texts.read(request_id) if rows and self._texts is not None else None
        if texts is None:
            raise errors.NotFound(
                "there is no such prompt that may be evaluated, or there is none any more",
                reason="REQUEST_NOT_FOUND",
            )
        return {**dict(rows[0]), "request": None if "request" in texts["cut"] else texts["request"]}

    def _allowed(self) -> list[str]:
        return sorted(name for name, plan in self._plans.current.by_name.items() if plan.evaluate_prompts)

    async def _fetch(self, query: str, *values: Any) -> list[Any]:
        try:
            async with postgres.connection(self._pool) as connection:
                return list(await connection.fetch(query, *values))
        except postgres.ERRORS as error:
            raise errors.Unavailable("prompts cannot be read at the moment", retry_after_s=1) from error
