"""Learning from use: what users thought of answers, beside what the classifier saw of their requests.

Features are kept only where `switches.keep_features` says so; they are numbers, never text. What is exported is what
`services.classifier.refit` reads.
"""

import re
from collections.abc import AsyncIterator

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from services.chassis import errors
from services.gateway import postgres
from services.gateway.app import JSON, bearer, read
from services.gateway.keys import Keys

LARGEST = 10
REQUEST_ID = re.compile(r"[!-~]{1,128}")
BATCH = 1000

GIVE = """
INSERT INTO feedback (request_id, user_id, value) VALUES ($1, $2, $3)
ON CONFLICT (request_id, user_id) DO UPDATE SET value = excluded.value, given_at = now()
"""
# Only a fast model's answer tells whether it was enough; a powerful one's praise says nothing of the fast one.
EXAMPLES = """
SELECT c.request_id, c.version, c.features, c.strong_win_rate AS score, (f.value < 0)::int AS outcome
FROM feedback f
JOIN task_classifications c USING (request_id, user_id)
JOIN model_selections s ON s.request_id = c.request_id AND s.decided_at = c.decided_at
WHERE c.features IS NOT NULL AND s.tier = 'fast' AND f.value <> 0 AND c.request_id > $1
ORDER BY c.request_id LIMIT $2
"""


class Feedback:
    """What users say of answers."""

    def __init__(self, pool: postgres.Pool) -> None:
        self._pool = pool

    async def give(self, request_id: str, user_id: str, value: int) -> None:
        """Keep a user's opinion of one answer; a second one replaces the first.

        Raises:
            Unavailable: PostgreSQL cannot take it.
        """
        try:
            async with postgres.connection(self._pool) as connection:
                await connection.execute(GIVE, request_id, user_id, value)
        except postgres.ERRORS as error:
            raise errors.Unavailable("feedback cannot be kept at the moment", retry_after_s=1) from error

    async def examples(self) -> AsyncIterator[bytes]:
        """Every request whose features were kept and whose answer was judged, as JSON lines."""
        last = ""
        while True:
            async with postgres.connection(self._pool) as connection:
                rows = await connection.fetch(EXAMPLES, last, BATCH)
            for row in rows:
                last = row["request_id"]
                example = {name: row[name] for name in ("version", "features", "score", "outcome")}
                yield orjson.dumps(example) + b"\n"
            if len(rows) < BATCH:
                return


def router(keys: Keys, feedback: Feedback) -> APIRouter:
    """POST /v1/feedback for callers, GET /admin/learning for the admin."""
    routes = APIRouter()

    @routes.post("/v1/feedback")
    async def give(request: Request) -> JSON:
        caller = await keys.caller(bearer(request))
        try:
            body = orjson.loads(await read(request))
        except orjson.JSONDecodeError as error:
            raise errors.Invalid(f"the body is not valid JSON: {error}", reason="INVALID_JSON") from error
        request_id, value = (
            (body.get("request_id"), body.get("value")) if isinstance(body, dict) else (None, None)
        )
        if not isinstance(request_id, str) or not REQUEST_ID.fullmatch(request_id):
            raise errors.Invalid("request_id: expected the x-request-id of the answer", param="request_id")
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) > LARGEST:
            raise errors.Invalid(
                f"value: expected a whole number from -{LARGEST} to {LARGEST}", param="value"
            )
        await feedback.give(request_id, caller.user_id, value)
        return JSON({"status": "success"})

    @routes.get("/admin/learning")
    async def learning(request: Request) -> StreamingResponse:
        await keys.admin(bearer(request))
        return StreamingResponse(feedback.examples(), media_type="application/x-ndjson")

    return routes
