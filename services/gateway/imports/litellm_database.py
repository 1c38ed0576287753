"""LiteLLM's database, read at one moment: one read-only transaction, whatever its proxy writes meanwhile."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import asyncpg

from services.gateway.imports import litellm, litellm_spend
from services.gateway.imports.files import Tables, UnreadableError
from services.gateway.imports.litellm import Settings
from services.gateway.imports.litellm_spend import DAYS, LOGS, LiteLlmSpend
from services.gateway.imports.model_names import ModelNames
from services.gateway.imports.records import Note, Record

# For one statement, in seconds; rows are read in portions of so many.
TIMEOUT_S = 300.0
PORTION = 5000
COLUMNS = """
SELECT column_name FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = $1
"""

IDENTITY = "SELECT 'litellm:' || system_identifier || ':' || current_database() FROM pg_control_system()"


class Database:
    """Everything that is read of it; the schema differs from version to version, so only what is there is asked for."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._connection = connection

    async def records(self, models: ModelNames, *, by_day: bool) -> AsyncIterator[Record]:
        """Settings first, then what was spent: by request, or the sums of days that are over.

        Raises:
            UnreadableError: a table or a column is not there.
        """
        tables = litellm.Tables()
        for table in litellm.TABLES:
            async for row in self._rows(litellm.TABLES, table):
                tables.rows.setdefault(table, []).append(dict(row))
        settings = Settings(tables, models, datetime.now(UTC))
        for record in settings.records():
            yield record
        spend = LiteLlmSpend(settings.organizations())
        if by_day:
            today = datetime.now(UTC).date().isoformat()
            yield Note("the sums of today: are imported when the day is over", today)
            async for row in self._rows(litellm_spend.TABLES, DAYS, "WHERE date < $1", today):
                yield spend.day(dict(row))
        else:
            async for row in self._rows(litellm_spend.TABLES, LOGS):
                yield spend.request(dict(row))

    async def identity(self) -> str:
        """The same for the same database, whatever its address."""
        return str(await self._connection.fetchval(IDENTITY))

    async def spent(self) -> tuple[float, float]:
        """What its rows of requests add up to, and what its sums of days do."""
        logs, days = [
            await self._connection.fetchval(f'SELECT coalesce(sum(spend), 0) FROM "{table}"')  # noqa: S608
            if await self._connection.fetch(COLUMNS, table)
            else 0.0
            for table in (LOGS, DAYS)
        ]
        return logs, days

    async def _rows(self, tables: Tables, table: str, *where: str) -> AsyncIterator[asyncpg.Record]:
        needed, optional = tables[table]
        there = {row["column_name"] for row in await self._connection.fetch(COLUMNS, table)}
        if missing := [name for name in needed if name not in there]:
            raise UnreadableError(
                f"the table {table} lacks {', '.join(missing)}; is this LiteLLM's database?"
            )
        names = ", ".join(f'"{name}"' for name in _once(needed, optional) if name in there)
        condition, *values = where or ("",)
        async for row in self._connection.cursor(
            f'SELECT {names} FROM "{table}" {condition}',  # noqa: S608  (names of ours)
            *values,
            prefetch=PORTION,
        ):
            yield row


@asynccontextmanager
async def opened(address: str) -> AsyncIterator[Database]:
    """Connect to it.

    Raises:
        UnreadableError: it cannot be reached, or refuses.
    """
    try:
        connection = await asyncpg.connect(address, timeout=10, command_timeout=TIMEOUT_S)
    except ValueError as error:
        # Neither the address nor what is said of it: what was taken for its port may be a part of its password.
        raise UnreadableError(
            "LiteLLM's database cannot be opened: its address cannot be read; expected "
            "postgresql://USER:PASSWORD@HOST/NAME, with / # ? @ in the password as %2F %23 %3F %40"
        ) from error
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        # Never the address: it has a password.
        raise UnreadableError(
            f"LiteLLM's database cannot be opened: {type(error).__name__}: {error}"
        ) from error
    try:
        await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            yield Database(connection)
    finally:
        await connection.close()


def _once(needed: Sequence[str], optional: Sequence[str]) -> dict[str, None]:
    return dict.fromkeys((*needed, *optional))
