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
# How often a batch may take PostgreSQL too long before it is given up: about a quarter of a minute, after which those
# behind it have their turn. While PostgreSQL is gone nothing is given up.
TRIES = 5
# Who was erased meanwhile is not kept: the erasure has seen no row of this request.
KEEP = """
INSERT INTO request_texts (request_id, user_id, sealed, asked_at, expires_at, may_evaluate)
SELECT $1::text, $2::text, $3::bytea, $4::timestamptz, $4::timestamptz + make_interval(days => $5::int), $6::boolean
WHERE NOT EXISTS (SELECT FROM erasures WHERE user_id = $2::text AND erased_at >= $4::timestamptz)
ON CONFLICT (request_id) DO NOTHING
"""
READ = "SELECT sealed FROM request_texts WHERE request_id = $1 AND expires_at > now()"


class TooSlowError(Exception):
    """PostgreSQL did not take a batch in time, though there was a connection."""


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
        # How often the oldest batch has taken too long.
        self._too_slow = 0
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
        # Redacted, compressed and encrypted beside the event loop.
        rows = await asyncio.to_thread(lambda: [self._row(one) for one in batch])
        try:
            async with postgres.connection(self._pool) as connection:
                await self._insert(connection, rows)
        except TooSlowError as error:
            self._too_slow += 1
            if self._too_slow < TRIES:
                return await self._try_later(error)
            self._give_up(batch, error)
        except (*postgres.ERRORS, *postgres.CONFLICTS) as error:
            return await self._try_later(error)
        except asyncpg.PostgresError as error:
            # The same again would fail again.
            self._give_up(batch, error)
        else:
            self._outage.end()
        self._too_slow = 0
        return True

    async def _insert(self, connection: postgres.Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        try:
            await connection.executemany(KEEP, rows)
        except (TimeoutError, asyncpg.QueryCanceledError) as error:
            raise TooSlowError(f"{len(rows)} requests at once take too long") from error

    async def _try_later(self, error: Exception) -> bool:
        self._outage.begin(error)
        await self._outage.pause()
        return False

    def _give_up(self, batch: Sequence[Record], error: Exception) -> None:
        log.error("%d requests' texts cannot be kept: %s", len(batch), type(error).__name__)
        DROPPED.labels(TO).inc(len(batch))

    def _row(self, record: Record) -> tuple[Any, ...]:
        request_id = record.about["request_id"]
        text = orjson.dumps({**record.sides(self._content), "cut": record.cut})
        asked_at = datetime.fromtimestamp(record.began_ns / 1e9, UTC)
        sealed = self._cipher.seal(text, request_id)
        return request_id, record.about["user_id"], sealed, asked_at, self._days, record.may_evaluate

    def _opened(self, sealed: bytes, request_id: str) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(self._cipher.open(sealed, request_id))
        return found
