"""How long rows are kept: tables by month, and old rows deleted in batches."""

import logging
from datetime import UTC, datetime, timedelta

import asyncpg

from services.gateway import postgres

log = logging.getLogger(__name__)

# Tables by month, and the column that says which.
PARTITIONED = {
    "usage_records": "started_at",
    "task_classifications": "decided_at",
    "model_selections": "decided_at",
    "learning_choices": "decided_at",
}
# Tables whose rows have an end of their own.
EXPIRING = ("responses", "request_texts", "mirrored_requests")
# For how long a new month waits for whoever holds its table, in milliseconds: while it waits, nobody can write there.
LOCK_WAIT_MS = 1000
# An executor's spool may be late by so many days, and still finds who was erased meanwhile.
LATE_DAYS = 30
PRUNE_LEARNING = (
    "DELETE FROM feedback WHERE ctid = ANY(ARRAY(SELECT ctid FROM feedback WHERE asked_at < $1 LIMIT $2))",
    """
    UPDATE task_classifications SET features = NULL WHERE (tableoid, ctid) IN (
        SELECT tableoid, ctid FROM task_classifications WHERE features IS NOT NULL AND decided_at < $1 LIMIT $2
    )
    """,
    "DELETE FROM judgements WHERE ctid = ANY(ARRAY(SELECT ctid FROM judgements WHERE asked_at < $1 LIMIT $2))",
    """
    DELETE FROM learning_choices WHERE (tableoid, ctid) IN (
        SELECT tableoid, ctid FROM learning_choices WHERE decided_at < $1 LIMIT $2
    )
    """,
)


class Retention:
    """Makes and drops the months of tables, and deletes what is old."""

    def __init__(self, pool: postgres.Pool, *, timeout_s: float = 30.0) -> None:
        """Work through `pool`, each statement within `timeout_s`."""
        self._pool = pool
        self._timeout_s = timeout_s

    async def make_partitions(self, today: datetime, months: int = 2) -> None:
        """Make sure that this month and the next ones have tables of their own."""
        async with postgres.connection(self._pool, timeout_s=self._timeout_s) as connection:
            for table in PARTITIONED:
                first = today.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
                for _ in range(months + 1):
                    following = (first + timedelta(days=32)).replace(day=1)
                    await _make_partition(connection, table, first, following)
                    first = following

    async def prune(self, before: datetime, batch: int = 5000) -> int:
        """Delete a batch of what is older than `before`; how many rows that were. Sums for budgets stay."""
        removed = 0
        async with postgres.connection(self._pool, timeout_s=self._timeout_s) as connection:
            for table, moment in PARTITIONED.items():
                status = await connection.execute(
                    f"DELETE FROM {table} WHERE (tableoid, ctid) IN "  # noqa: S608
                    f"(SELECT tableoid, ctid FROM {table} WHERE {moment} < $1 LIMIT $2)",
                    before,
                    batch,
                )
                removed += int(status.rpartition(" ")[2])
            if not removed:
                await _drop_partitions(connection, before)
        return removed

    async def prune_learning(self, before: datetime, batch: int = 5000) -> int:
        """Delete a batch of what is learnt from that is older than `before`; how many rows that touched."""
        touched = 0
        async with postgres.connection(self._pool, timeout_s=self._timeout_s) as connection:
            for statement in PRUNE_LEARNING:
                status = await connection.execute(statement, before, batch)
                touched += int(status.rpartition(" ")[2])
        return touched

    async def prune_expired(self, now: datetime, batch: int = 1000) -> int:
        """Delete a batch of the kept responses, texts and comparisons that have expired; how many rows that were."""
        removed = 0
        async with postgres.connection(self._pool, timeout_s=self._timeout_s) as connection:
            for table in EXPIRING:
                status = await connection.execute(
                    f"DELETE FROM {table} WHERE ctid = ANY(ARRAY("  # noqa: S608
                    f"SELECT ctid FROM {table} WHERE expires_at < $1 LIMIT $2))",
                    now,
                    batch,
                )
                removed += int(status.rpartition(" ")[2])
        return removed

    async def forget_erased(self) -> None:
        """Keep the names of erased users no longer than events of theirs may be on their way."""
        async with postgres.connection(self._pool, timeout_s=self._timeout_s) as connection:
            await connection.execute(
                "DELETE FROM erasures WHERE erased_at < now() - make_interval(days => $1)", LATE_DAYS
            )


async def _make_partition(
    connection: postgres.Connection, table: str, first: datetime, following: datetime
) -> None:
    name = f"{table}_{first:%Y_%m}"
    if await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", name):
        return
    try:
        async with connection.transaction():
            await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_WAIT_MS}ms'")
            await connection.execute(
                f"CREATE TABLE {name} PARTITION OF {table} "
                f"FOR VALUES FROM ('{first:%Y-%m-%d}+00') TO ('{following:%Y-%m-%d}+00')"
            )
    except asyncpg.LockNotAvailableError:
        log.warning(
            "%s was not made: an index is being built, or a long query runs; the next run tries again", name
        )
    except asyncpg.CheckViolationError:
        # The default partition has rows of that month already, from a clock that ran ahead; they stay where they are.
        return
    except (asyncpg.DuplicateTableError, asyncpg.InvalidObjectDefinitionError):
        # Another ledger process was faster.
        return


async def _drop_partitions(connection: postgres.Connection, before: datetime) -> None:
    for table in PARTITIONED:
        rows = await connection.fetch(
            "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
            "WHERE i.inhparent = $1::regclass",
            table,
        )
        for row in rows:
            month = str(row["relname"]).removeprefix(f"{table}_")
            if month < f"{before:%Y_%m}" and month != "other":
                await connection.execute(f"DROP TABLE IF EXISTS {row['relname']}")
