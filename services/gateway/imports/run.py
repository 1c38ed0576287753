"""An import from beginning to end: every record of a source in one transaction, or nothing at all."""

from collections.abc import AsyncIterator, Set
from dataclasses import dataclass

import asyncpg

from services.chassis import redis
from services.gateway import postgres
from services.gateway.imports.records import Key, Mistake, Note, Record, User
from services.gateway.imports.summary import Summary
from services.gateway.imports.writer import ACTOR, DifferentError, Writer, Written
from services.gateway.keys import audit, erasure
from services.gateway.keys.digests import Digests
from services.gateway.ledger.store import LedgerStore
from services.gateway.ledger.writer import LedgerWriter

# Records that are written together.
BATCH = 5000
SPEND_BEFORE = "SELECT source FROM imports WHERE file_digest = $1 AND source <> $2"
NOTE_SPEND = """
INSERT INTO imports (file_digest, source, last_row) VALUES ($1, $2, $3)
ON CONFLICT (file_digest, source) DO UPDATE SET last_row = excluded.last_row, imported_at = now()
"""
# Whoever was erased here, for as long as that is kept.
ERASED = "SELECT user_id FROM erasures"
# Those of them who were erased since, and of whom something was written all the same.
ERASED_MEANWHILE = """
SELECT user_id FROM erasures e WHERE NOT user_id = ANY($1) AND (
    EXISTS (SELECT FROM users WHERE user_id = e.user_id)
    OR EXISTS (SELECT FROM virtual_keys WHERE user_id = e.user_id)
    OR EXISTS (SELECT FROM usage_records WHERE user_id = e.user_id)
)
"""
# Sums that are published together.
SUMS = 1000
# For one statement of a long import, in seconds: the last ones work on all of its rows.
TIMEOUT_S = 900.0


class RefusedError(Exception):
    """Why nothing was imported, for people."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be imported, and how."""

    # As the audit trail calls it: no address with a password.
    source: str
    plan: str
    # The same source whenever it is imported, and which of its tables the spend is taken from.
    identity: str = ""
    spend: str = ""
    dry_run: bool = False
    # Import all others where rows cannot be imported.
    leave_behind: bool = False


class Importer:
    """Imports into one installation."""

    def __init__(self, pool: postgres.Pool, client: redis.Redis, digests: Digests) -> None:
        """Write through `pool`, and publish what was spent through `client`; `digests` is how keys are stored."""
        self._pool = pool
        self._redis = client
        self._digests = digests

    async def run(self, records: AsyncIterator[Record], order: Order) -> Summary:
        """Import, or do all of it and take it back.

        Raises:
            RefusedError: the database does not take it, or what it has from before does not fit.
            postgres.ERRORS, redis.ERRORS: a store does not answer; the same again goes on.
        """
        summary = Summary()
        async with postgres.connection(self._pool, timeout_s=TIMEOUT_S) as connection:
            await Writer.prepare(connection)
            transaction = connection.transaction()
            await transaction.start()
            kept = False
            try:
                written = await self._write(connection, records, order, summary)
                kept = not order.dry_run and (order.leave_behind or not summary.left_behind)
            except (DifferentError, asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as error:
                raise RefusedError(f"nothing was imported: {error}") from error
            finally:
                if kept:
                    await transaction.commit()
                else:
                    await transaction.rollback()
        if kept:
            await self._publish(written)
        return summary

    async def _write(
        self, connection: postgres.Connection, records: AsyncIterator[Record], order: Order, summary: Summary
    ) -> Written:
        identity = order.identity or order.source
        if before := await connection.fetchval(SPEND_BEFORE, identity, order.spend):
            raise RefusedError(
                f"what was spent was imported from {before} before; from {order.spend} it would count twice"
            )
        writer = Writer(connection, self._digests, order.plan, order.source)
        batch = []
        erased = {row["user_id"] for row in await connection.fetch(ERASED)}
        async for found in records:
            record = _without(erased, found)
            summary.count(record)
            if not isinstance(record, Note | Mistake):
                batch.append(record)
            if len(batch) == BATCH:
                await writer.add(batch)
                batch = []
        await writer.add(batch)
        written = await writer.finish()
        summary.new, summary.new_nano_usd = written.new, written.nano_usd
        if summary.read["requests"]:
            await connection.execute(NOTE_SPEND, identity, order.spend, summary.read["requests"])
        if any(written.new.values()):
            detail = {**written.new, "nano_usd": written.nano_usd, "left_behind": summary.left_behind.total()}
            await audit.append(connection, ACTOR, "import", f"source:{order.source}", detail)
        await _refuse_erased(connection, erased)
        return written

    async def _publish(self, written: Written) -> None:
        """Tell the gateways what was spent; without that they read it when their counters are next made anew."""
        ledger = LedgerWriter(self._redis, LedgerStore(self._pool))
        for start in range(0, len(written.sums), SUMS):
            await ledger.publish(written.sums[start : start + SUMS], [])


async def _refuse_erased(connection: postgres.Connection, known: Set[str]) -> None:
    """Refuse what was written of users who were erased meanwhile; an erasure that comes later finds what was imported.

    Raises:
        RefusedError: there is some.
    """
    await connection.execute("SELECT pg_advisory_xact_lock_shared($1)", erasure.LOCK)
    if found := await connection.fetch(ERASED_MEANWHILE, list(known)):
        raise RefusedError(f"{len(found)} of the users were erased meanwhile: import again, without them")


def _without(erased: Set[str], record: Record) -> Record:
    """The record, or in the place of an erased user, and of each key of one, a note that it is left out."""
    if isinstance(record, User | Key) and record.user_id in erased:
        return Note("an erased user: is left out, with every key", str(record.user_id))
    return record
