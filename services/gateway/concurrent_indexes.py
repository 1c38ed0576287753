"""Builds indexes while rows are written: on large tables any other way keeps the ledger and the gateways waiting.

PostgreSQL builds no index of a partitioned table so. Its parts get theirs one by one, and then they become the whole
table's; a part that is made meanwhile gets its own with it. What was built before an interruption stays.
"""

import logging
import re

import asyncpg

log = logging.getLogger(__name__)

# The first line of a migration that is nothing but such indexes.
MARK = "-- concurrently\n"
# How long one may take, in seconds.
BUILD_S = 6 * 3600.0
# How often a deadlock, or a part that was made meanwhile, is answered with another try.
MOST_ROUNDS = 5
STATEMENT = re.compile(r"CREATE INDEX (?P<name>\w+) ON (?P<table>\w+) (?P<rest>.+)", re.DOTALL)
REMARK = re.compile(r"^--.*$", re.MULTILINE)
PARTITIONED = "SELECT relkind = 'p' FROM pg_class WHERE oid = $1::regclass"
PARTS = """
SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = $1::regclass
ORDER BY c.relname
"""
# Whether a part of a table has its part of an index.
HAS = """
SELECT EXISTS (
    SELECT FROM pg_inherits i JOIN pg_index x ON x.indexrelid = i.inhrelid
    WHERE i.inhparent = $1::regclass AND x.indrelid = $2::regclass
)
"""
BROKEN = "SELECT NOT indisvalid FROM pg_index WHERE indexrelid = to_regclass($1)"


async def build(connection: asyncpg.Connection, text: str) -> None:
    """Build the indexes of a migration that are not there yet; outside of a transaction.

    Raises:
        ValueError: a statement makes no index.
        RuntimeError: a part of a table has none after several tries.
    """
    for statement in filter(None, (one.strip() for one in REMARK.sub("", text).split(";"))):
        found = STATEMENT.fullmatch(statement)
        if found is None:
            raise ValueError(f"expected CREATE INDEX name ON table ..., not {statement[:80]!r}")
        name, table, rest = found["name"], found["table"], found["rest"]
        if await connection.fetchval(PARTITIONED, table):
            await _build_parts(connection, name, table, rest)
        else:
            await _build(connection, name, table, rest)


async def _build_parts(connection: asyncpg.Connection, name: str, table: str, rest: str) -> None:
    """Build the index of each part and make them the whole table's.

    Raises:
        RuntimeError: it is still not whole after `MOST_ROUNDS`.
    """
    # First of all, so that every part that is made from now on gets its own.
    await connection.execute(f"CREATE INDEX IF NOT EXISTS {name} ON ONLY {table} {rest}")
    for _ in range(MOST_ROUNDS):
        for row in await connection.fetch(PARTS, table):
            part = str(row["relname"])
            if await connection.fetchval(HAS, name, part):
                continue
            own = f"{part}{name.removeprefix(table)}"
            await _build(connection, own, part, rest)
            await connection.execute(f"ALTER INDEX {name} ATTACH PARTITION {own}")
        # A part whose making began before the index was there may have come without one.
        if not await connection.fetchval(BROKEN, name):
            return
    raise RuntimeError(f"the index {name} is still not valid; a part of {table} has none")


async def _build(connection: asyncpg.Connection, name: str, table: str, rest: str) -> None:
    """Build one; what an interruption or a deadlock left half built is built anew."""
    for left in reversed(range(MOST_ROUNDS)):
        try:
            if await connection.fetchval(BROKEN, name):
                await connection.execute(f"DROP INDEX CONCURRENTLY {name}", timeout=BUILD_S)
            await connection.execute(
                f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {name} ON {table} {rest}", timeout=BUILD_S
            )
        except asyncpg.DeadlockDetectedError:
            if not left:
                raise
        else:
            log.info("built the index %s", name)
            return
