"""Which answers may be judged, and what a judge made of them."""

from datetime import datetime

from services.chassis import errors
from services.chassis.draws import fraction
from services.gateway import postgres

# Of the requests of one question, before a share of them is drawn.
MOST = 20_000

# Answered whole by the model that came first, and not yet judged by anybody.
OPEN = """
SELECT c.request_id FROM learning_choices c
WHERE c.decided_at >= $1
  AND EXISTS (SELECT FROM usage_records u WHERE u.request_id = c.request_id AND u.kind = 'final' AND u.model = c.model)
  AND NOT EXISTS (SELECT FROM judgements j WHERE j.request_id = c.request_id)
  AND NOT EXISTS (SELECT FROM feedback f WHERE f.request_id = c.request_id AND f.value <> 0)
ORDER BY c.decided_at DESC LIMIT $2
"""
GIVE = """
INSERT INTO judgements (request_id, user_id, judge, share, asked_at)
SELECT request_id, user_id, $2, $3, decided_at FROM learning_choices WHERE request_id = $1 LIMIT 1
ON CONFLICT (request_id) DO UPDATE SET judge = excluded.judge, share = excluded.share, judged_at = now()
RETURNING request_id
"""


class Judgements:
    """Reads and writes them.

    Args:
        pool: Where the ledger is.

    """

    def __init__(self, pool: postgres.Pool) -> None:
        self._pool = pool

    async def open(self, since: datetime, share: float) -> list[str]:
        """The ids of a share of the requests since a moment that nobody has judged, the newest first.

        A request is in the share or not by its id, so that asking again adds none.

        Raises:
            Unavailable: PostgreSQL does not answer.
        """
        try:
            async with postgres.connection(self._pool) as connection:
                rows = await connection.fetch(OPEN, since, MOST)
        except postgres.ERRORS as error:
            raise errors.Unavailable("the ledger cannot be read at the moment", retry_after_s=1) from error
        return [row["request_id"] for row in rows if fraction(f"{row['request_id']}/judge") < share]

    async def give(self, request_id: str, judge: str, share: float) -> None:
        """Keep what a judge made of an answer; a second judgement replaces the first.

        Raises:
            NotFound: nothing can be learnt from this request.
            Unavailable: PostgreSQL does not answer.
        """
        try:
            async with postgres.connection(self._pool) as connection:
                kept = await connection.fetchval(GIVE, request_id, judge, share)
        except postgres.ERRORS as error:
            raise errors.Unavailable("judgements cannot be kept at the moment", retry_after_s=1) from error
        if kept is None:
            raise errors.NotFound(
                f"request_id: nothing can be learnt from a request {request_id!r}",
                reason="REQUEST_NOT_FOUND",
                param="request_id",
            )
