"""The ledger's tables: rows are written in batches, each in one transaction, each event counted once."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from services.gateway import postgres
from services.gateway.keys.erasure import RENAMED
from services.gateway.ledger.rows import (
    CHOICE_COLUMNS,
    CLASSIFICATION_COLUMNS,
    SELECTION_COLUMNS,
    USAGE_COLUMNS,
    Decided,
    Ended,
    Poison,
    Started,
    Sum,
)

# What is wrong with the data itself, in this process or at the server: trying again would not help.
DATA_ERRORS = (
    ValueError,
    TypeError,
    OverflowError,
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    # A text that is too long for an index.
    asyncpg.ProgramLimitExceededError,
)
# After the deadline of its request, an attempt's end is waited for so long, in seconds.
GRACE_S = 60.0

# Everything that is put together below is put together of the names in `rows` alone.
COLUMNS = ", ".join(USAGE_COLUMNS)

TEMPORARY = f"""
CREATE TEMPORARY TABLE IF NOT EXISTS incoming ON COMMIT DELETE ROWS AS
    SELECT {COLUMNS} FROM usage_records WHERE false;
CREATE TEMPORARY TABLE IF NOT EXISTS changed ON COMMIT DELETE ROWS AS
    SELECT 1 AS sign, {COLUMNS} FROM usage_records WHERE false;
CREATE TEMPORARY TABLE IF NOT EXISTS incoming_task_classifications ON COMMIT DELETE ROWS AS
    SELECT * FROM task_classifications WHERE false;
CREATE TEMPORARY TABLE IF NOT EXISTS incoming_model_selections ON COMMIT DELETE ROWS AS
    SELECT * FROM model_selections WHERE false;
CREATE TEMPORARY TABLE IF NOT EXISTS incoming_learning_choices ON COMMIT DELETE ROWS AS
    SELECT * FROM learning_choices WHERE false;
"""  # noqa: S608
# What an erased user did before the erasure, and what arrives only now.
RENAME = f"""
UPDATE incoming i SET user_id = e.stranger{RENAMED["usage_records"]}
FROM erasures e WHERE i.user_id = e.user_id AND i.admitted_at <= e.erased_at
"""  # noqa: S608
RENAME_DECIDED = """
UPDATE incoming_{table} i SET user_id = e.stranger{more}
FROM erasures e WHERE i.user_id = e.user_id AND i.decided_at <= e.erased_at
"""
INSERT_DECIDED = """
INSERT INTO {table} ({columns}) SELECT DISTINCT ON (request_id, decided_at) {columns} FROM incoming_{table}
ORDER BY {order} ON CONFLICT {conflict}
"""
DECIDED = {
    "task_classifications": CLASSIFICATION_COLUMNS,
    "model_selections": SELECTION_COLUMNS,
    "learning_choices": CHOICE_COLUMNS,
}
# What becomes of two rows of one decision. A request that was admitted may be refused after all, where no candidate can
# be called: that is told by a second event, whatever the order in which both arrive.
REPEATED: Mapping[str, Mapping[str, str]] = {
    "task_classifications": {"order": "request_id, decided_at", "conflict": "DO NOTHING"},
    "learning_choices": {"order": "request_id, decided_at", "conflict": "DO NOTHING"},
    "model_selections": {
        "order": "request_id, decided_at, refusal DESC",
        "conflict": "(request_id, decided_at) DO UPDATE SET refusal = excluded.refusal "
        "WHERE model_selections.refusal = '' AND excluded.refusal <> ''",
    },
}
# A row of an attempt whose end had not come gives way to the end.
CORRECT = f"""
WITH corrected AS (
    DELETE FROM usage_records r USING incoming i
    WHERE r.attempt_id = i.attempt_id AND r.started_at = i.started_at AND r.kind = 'unknown' AND i.kind <> 'unknown'
    RETURNING {", ".join(f"r.{column}" for column in USAGE_COLUMNS)}
)
INSERT INTO changed SELECT -1, {COLUMNS} FROM corrected
"""  # noqa: S608
INSERT = f"""
WITH inserted AS (
    INSERT INTO usage_records ({COLUMNS}) SELECT {COLUMNS} FROM incoming ORDER BY attempt_id
    ON CONFLICT DO NOTHING RETURNING {COLUMNS}
)
INSERT INTO changed SELECT 1, {COLUMNS} FROM inserted
"""  # noqa: S608
OPEN = """
INSERT INTO open_attempts (attempt_id, request_id, event, closes_at)
SELECT s.attempt_id, s.request_id, s.event, now() + make_interval(secs => s.lasts_s)
FROM unnest($1::text[], $2::text[], $3::bytea[], $4::float8[], $5::timestamptz[])
    AS s (attempt_id, request_id, event, lasts_s, started_at)
WHERE NOT EXISTS (
    SELECT FROM usage_records r WHERE r.attempt_id = s.attempt_id AND r.started_at = s.started_at
)
ORDER BY s.attempt_id
ON CONFLICT DO NOTHING
"""
CLOSE = "DELETE FROM open_attempts o USING incoming i WHERE o.attempt_id = i.attempt_id"
# Always in the same order, so that two writers wait for each other instead of deadlocking.
SUM_HOURS = """
INSERT INTO usage_metrics AS m
SELECT date_trunc('hour', started_at), key_id, user_id, organization_id, plan, model, provider, category, tier, kind,
       coalesce(sum(sign) FILTER (WHERE attempt_id LIKE '%/1'), 0), sum(sign),
       sum(sign * prompt_tokens), sum(sign * completion_tokens), sum(sign * cached_tokens),
       coalesce(sum(sign * cost_nano_usd), 0), sum(sign * duration_ms),
       coalesce(sum(sign) FILTER (WHERE cost_nano_usd IS NULL), 0), sum(sign * web_searches),
       sum(sign * saved_nano_usd)
FROM changed GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 ORDER BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
ON CONFLICT (hour, key_id, user_id, organization_id, plan, model, provider, category, tier, kind) DO UPDATE SET
    requests = m.requests + excluded.requests,
    attempts = m.attempts + excluded.attempts,
    prompt_tokens = m.prompt_tokens + excluded.prompt_tokens,
    completion_tokens = m.completion_tokens + excluded.completion_tokens,
    cached_tokens = m.cached_tokens + excluded.cached_tokens,
    cost_nano_usd = m.cost_nano_usd + excluded.cost_nano_usd,
    duration_ms = m.duration_ms + excluded.duration_ms,
    unpriced = m.unpriced + excluded.unpriced,
    web_searches = m.web_searches + excluded.web_searches,
    saved_nano_usd = m.saved_nano_usd + excluded.saved_nano_usd
"""
# The periods that a moment lies in, as services.gateway.config.budgets.token names them.
PERIODS = """
VALUES
    ('total'),
    ('month:' || to_char({moment} AT TIME ZONE 'UTC', 'YYYY-MM')),
    ('week:' || to_char(date_trunc('week', {moment} AT TIME ZONE 'UTC'), 'YYYY-MM-DD')),
    ('day:' || to_char({moment} AT TIME ZONE 'UTC', 'YYYY-MM-DD'))
"""
# Which subjects and periods the rows of a table count for.
SPENDS = f"""
FROM {{table}} t
CROSS JOIN LATERAL (VALUES
    ('key:' || t.key_id, t.key_id), ('user:' || t.user_id, t.user_id),
    ('organization:' || t.organization_id, t.organization_id)
) AS who (subject, id)
CROSS JOIN LATERAL ({PERIODS.format(moment="t.admitted_at")}) AS span (period)
WHERE who.id <> '' AND t.cost_nano_usd <> 0
"""
SUM_BUDGETS = f"""
INSERT INTO budget_spend AS b
SELECT who.subject, span.period, sum(t.sign * t.cost_nano_usd), 1
{SPENDS.format(table="changed")}
GROUP BY 1, 2 ORDER BY 1, 2
ON CONFLICT (subject, period) DO UPDATE SET
    spent_nano_usd = b.spent_nano_usd + excluded.spent_nano_usd, version = b.version + 1
"""
# Also what an earlier try of the same batch has summed: that may not have been published.
SUMS = f"""
SELECT b.subject, b.period, b.spent_nano_usd, b.version
FROM (SELECT DISTINCT who.subject, span.period {SPENDS.format(table="incoming")}) AS touched
JOIN budget_spend b USING (subject, period)
"""  # noqa: S608
SUMS_CORRECTED = f"""
SELECT b.subject, b.period, b.spent_nano_usd, b.version
FROM (SELECT DISTINCT who.subject, span.period {SPENDS.format(table="changed")}) AS touched
JOIN budget_spend b USING (subject, period)
"""  # noqa: S608


async def prepare(connection: postgres.Connection) -> None:
    """Make the tables that a transaction's rows are staged in; before it begins."""
    await connection.execute("SET client_min_messages = warning")
    await connection.execute(TEMPORARY)


async def stage(connection: postgres.Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    """Bring rows of usage_records, in the order of their columns, into the transaction that writes them."""
    await connection.copy_records_to_table("incoming", records=rows, columns=USAGE_COLUMNS)


async def write_staged(connection: postgres.Connection) -> list[Sum]:
    """Write what is staged, whichever of it is new; the sums that all of it counts for."""
    for statement in (RENAME, CORRECT, INSERT, CLOSE, SUM_HOURS, SUM_BUDGETS):
        await connection.execute(statement)
    rows = await connection.fetch(f"{SUMS} UNION {SUMS_CORRECTED}")
    return [Sum(row["subject"], row["period"], row["spent_nano_usd"], row["version"]) for row in rows]


class LedgerStore:
    """Writes the ledger's tables."""

    def __init__(self, pool: postgres.Pool, *, timeout_s: float = 30.0, grace_s: float = GRACE_S) -> None:
        """Write through `pool`, each transaction within `timeout_s`."""
        self._pool = pool
        self._timeout_s = timeout_s
        self._grace_s = grace_s

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[postgres.Connection]:
        async with postgres.connection(self._pool, timeout_s=self._timeout_s) as connection:
            await prepare(connection)
            async with connection.transaction():
                yield connection

    async def write(self, events: Iterable[Started | Ended]) -> list[Sum]:
        """Write a batch of usage events, whichever of them are new; the sums that its attempts count for.

        Raises:
            DATA_ERRORS: one of the events cannot be written, so none was.
            postgres.ERRORS, postgres.CONFLICTS: nothing is wrong with them; try again.
        """
        ended: dict[str, Ended] = {}
        started: dict[str, Started] = {}
        for event in events:
            if isinstance(event, Ended):
                ended.setdefault(event.attempt_id, event)
            else:
                started.setdefault(event.attempt_id, event)
        opened = [one for ident, one in started.items() if ident not in ended]
        async with self._transaction() as connection:
            if opened:
                await connection.execute(
                    OPEN,
                    [one.attempt_id for one in opened],
                    [one.request_id for one in opened],
                    [one.event for one in opened],
                    [one.lasts_s + self._grace_s for one in opened],
                    [one.started_at for one in opened],
                )
            if not ended:
                return []
            await stage(connection, [one.row for one in ended.values()])
            return await write_staged(connection)

    async def overdue(self, limit: int = 500) -> list[tuple[str, bytes]]:
        """Attempts whose end did not come in time: their ids, and the events of their start."""
        async with postgres.connection(self._pool, timeout_s=self._timeout_s) as connection:
            rows = await connection.fetch(
                "SELECT attempt_id, event FROM open_attempts WHERE closes_at < now() ORDER BY closes_at LIMIT $1",
                limit,
            )
        return [(row["attempt_id"], row["event"]) for row in rows]

    async def forget(self, attempt_ids: Sequence[str]) -> None:
        """Do not expect the ends of these attempts any more."""
        async with postgres.connection(self._pool, timeout_s=self._timeout_s) as connection:
            await connection.execute(
                "DELETE FROM open_attempts WHERE attempt_id = ANY($1::text[])", attempt_ids
            )

    async def under_way(self, request_ids: Sequence[str]) -> set[str]:
        """Those of the requests that have an attempt without an end."""
        async with postgres.connection(self._pool, timeout_s=self._timeout_s) as connection:
            rows = await connection.fetch(
                "SELECT DISTINCT request_id FROM open_attempts WHERE request_id = ANY($1::text[])",
                request_ids,
            )
        return {row["request_id"] for row in rows}

    async def write_decisions(self, decisions: Sequence[Decided]) -> None:
        """Write a batch of decisions, whichever of them are new.

        Raises:
            DATA_ERRORS: one of them cannot be written, so none was.
            postgres.ERRORS, postgres.CONFLICTS: nothing is wrong with them; try again.
        """
        rows = {
            "task_classifications": [one.classification for one in decisions if one.classification],
            "model_selections": [one.selection for one in decisions],
            "learning_choices": [one.choice for one in decisions if one.choice],
        }
        async with self._transaction() as connection:
            for table, columns in DECIDED.items():
                if rows[table]:
                    await connection.copy_records_to_table(
                        f"incoming_{table}", records=rows[table], columns=columns
                    )
                    await connection.execute(RENAME_DECIDED.format(table=table, more=RENAMED[table]))
                    await connection.execute(
                        INSERT_DECIDED.format(table=table, columns=", ".join(columns), **REPEATED[table])
                    )

    async def set_aside(self, stream: str, poisoned: Sequence[Poison]) -> None:
        """Keep events that cannot be written, with the reasons."""
        async with postgres.connection(self._pool, timeout_s=self._timeout_s) as connection:
            await connection.executemany(
                "INSERT INTO poison_events (stream, entry_id, reason, event) VALUES ($1, $2, $3, $4) "
                "ON CONFLICT DO NOTHING",
                [(stream, one.entry_id, one.reason.replace("\0", "")[:500], one.event) for one in poisoned],
            )
