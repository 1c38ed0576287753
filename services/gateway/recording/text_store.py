"""Prompts and answers in PostgreSQL, encrypted, for as long as the operator says; only admins read them."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import asyncpg
import orjson

from services.chassis import errors
from services.chassis.outage import Outage
from services.gateway import postgres
from services.gateway.cipher import Cipher, UnreadableError
from services.gateway.recording.delivery import DROPPED, Delivery
from services.gateway.recording.record import Content, Record

log = logging.getLogger(__name__)

# Separates what is sealed here from all else that is sealed under the same secret.
PURPOSE = b"lumni request texts v1"
# As the metric of dropped records names this destination.
TO = "database"
# The most records of one statement, and seconds between two tries.
BATCH = 50
RETRY_S = 2.0
# Who was erased meanwhile is not kept: the erasure has seen no row of this request.
KEEP = """
INSERT INTO request_texts (request_id, user_id, sealed, asked_at, expires_at)
SELECT $1::text, $2::text, $3::bytea, $4::timestamptz, $4::timestamptz + make_interval(days => $5::int)
WHERE NOT EXISTS (SELECT FROM erasures WHERE user_id = $2::text AND erased_at >= $4::timestamptz)
ON CONFLICT (request_id) DO NOTHING
"""
READ = "SELECT sealed FROM request_texts WHERE request_id = $1 AND expires_at > now()"


class TextStore:
    """Keeps the texts of requests for some days.

    Args:
        pool: PostgreSQL.
        cipher: Encrypts them.
        days: For how long.
        content: What is kept of them: redacted or full.
    """

    def __init__(self, pool: postgres.Pool, cipher: Cipher, days: int, content: Content) -> None:
        self._pool = pool
        self._cipher = cipher
        self._days = days
        self._content = content
        self._delivery = Delivery(TO, self._write, batch=BATCH)
        self._outage = Outage(
            log, "prompts and answers cannot be kept", "prompts and answers are kept again", pause_s=RETRY_S
        )

    def add(self, record: Record) -> None:
        """Take a record of a request that is over; returns at once."""
        if record.may_keep_texts:
            self._delivery.add(record)

    @asynccontextmanager
    async def delivering(self) -> AsyncIterator[None]:
        """Write in the background until the block ends, then what is left within a second."""
        async with self._delivery.delivering():
            yield

    async def read(self, request_id: str) -> dict[str, Any] | None:
        """The `request` and the `response`, and which of them were `cut`; None where none are kept.

        Raises:
            Unavailable: PostgreSQL does not answer.
        """
        try:
            async with postgres.connection(self._pool) as connection:
                sealed = await connection.fetchval(READ, request_id)
        except postgres.ERRORS as error:
            raise errors.Unavailable(
                "prompts and answers cannot be read at the moment", retry_after_s=1
            ) from error
        if sealed is None:
            return None
        try:
            return await asyncio.to_thread(self._opened, sealed, request_id)
        except UnreadableError:
            log.warning("a kept prompt cannot be decrypted: LUMNI_PROMPTS_KEY is another one now")
            return None

    async def _write(self, batch: Sequence[Record]) -> bool:
        try:
            # Redacted, compressed and encrypted beside the event loop.
            rows = await asyncio.to_thread(lambda: [self._row(one) for one in batch])
            async with postgres.connection(self._pool) as connection:
                await connection.executemany(KEEP, rows)
        except (*postgres.ERRORS, *postgres.CONFLICTS) as error:
            self._outage.begin(error)
            await self._outage.pause()
            return False
        except asyncpg.PostgresError as error:
            # The same again would fail again.
            log.error("%d requests' texts cannot be kept: %s", len(batch), type(error).__name__)  # noqa: TRY400
            DROPPED.labels(TO).inc(len(batch))
            return True
        self._outage.end()
        return True

    def _row(self, record: Record) -> tuple[Any, ...]:
        request_id = record.about["request_id"]
        text = orjson.dumps({**record.sides(self._content), "cut": record.cut})
        asked_at = datetime.fromtimestamp(record.began_ns / 1e9, UTC)
        sealed = self._cipher.seal(text, request_id)
        return request_id, record.about["user_id"], sealed, asked_at, self._days

    def _opened(self, sealed: bytes, request_id: str) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(self._cipher.open(sealed, request_id))
        return found
