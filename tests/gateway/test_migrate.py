"""Migrations."""

import asyncio

import asyncpg
import pytest

from services.gateway.migrate import FOLDER, migrate


async def test_migrations_apply_once_and_a_changed_one_is_refused(empty_database: str) -> None:
    first, second = await asyncio.gather(migrate(empty_database), migrate(empty_database))
    files = sorted(path.name for path in FOLDER.glob("*.sql"))
    assert files == sorted(first + second)
    assert [] == await migrate(empty_database)

    connection = await asyncpg.connect(empty_database)
    await connection.execute("UPDATE schema_migrations SET digest = 'other'")
    await connection.close()
    with pytest.raises(Exception, match="not the database's"):
        await migrate(empty_database)
