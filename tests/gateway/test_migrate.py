"""Migrations."""

import asyncio
import re

import asyncpg
import pytest

from services.gateway import concurrent_indexes
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


async def test_a_version_that_is_taken_back_works_on_what_the_newer_one_added(empty_database: str) -> None:
    await migrate(empty_database)
    connection = await asyncpg.connect(empty_database)
    await connection.execute("INSERT INTO schema_migrations (name, digest) VALUES ('9999_newer.sql', 'd')")
    assert [] == await migrate(empty_database)

    await connection.execute("UPDATE schema_migrations SET name = '0001_unknown.sql' WHERE name ~ '^9999'")
    await connection.close()
    with pytest.raises(Exception, match=r"0001_unknown\.sql is applied but not the same here"):
        await migrate(empty_database)


# The first file of which the version before it must be able to run; those before were never released one by one.
FIRST_ADDITIVE = "0020"
# What takes away, or asks more than, the version before knows.
SUBTRACTIVE = re.compile(
    r"\bDROP (COLUMN|TABLE|VIEW)|\bRENAME\b|\bSET NOT NULL|\bALTER COLUMN \w+ TYPE", re.IGNORECASE
)


def test_the_version_before_a_migration_runs_on_the_database_after_it() -> None:
    files = {path.name: path.read_text() for path in FOLDER.glob("*.sql") if path.name >= FIRST_ADDITIVE}

    assert files
    assert [] == [name for name, text in files.items() if SUBTRACTIVE.search(text)]


# The first file whose indexes are built while rows are written; those before were applied as they are.
FIRST_CONCURRENT = "0016"
MADE = re.compile(r"CREATE TABLE (?:IF NOT EXISTS )?(\w+)")
INDEXED = re.compile(r"CREATE (?:UNIQUE )?INDEX \w+ ON (?:ONLY )?(\w+)")


def test_no_index_of_a_table_that_may_be_large_is_built_in_a_transaction() -> None:
    files = {path.name: path.read_text() for path in FOLDER.glob("*.sql") if path.name >= FIRST_CONCURRENT}
    assert any(INDEXED.search(text) for text in files.values())
    for name, text in files.items():
        if not text.startswith(concurrent_indexes.MARK):
            # A table that the same file makes is empty.
            assert set(INDEXED.findall(text)) <= set(MADE.findall(text)), name


NAMES = (
    "usage_records_by_experiment",
    "usage_records_by_trace",
    "model_selections_by_experiment",
    "model_selections_by_time",
)
# Of the whole tables and of their parts: those that are good for queries.
VALID = (
    "SELECT count(*) FILTER (WHERE indisvalid), count(*) FROM pg_index WHERE indexrelid::regclass::text ~ $1"
)


async def test_indexes_of_large_tables_are_built_part_by_part_and_an_interrupted_build_goes_on(
    empty_database: str,
) -> None:
    await migrate(empty_database)
    connection = await asyncpg.connect(empty_database)

    async def counted(name: str) -> tuple[int, int]:
        found = await connection.fetchrow(
            VALID, f"{name.partition('_by_')[0]}.*_by_{name.partition('_by_')[2]}$"
        )
        assert found is not None
        return found[0], found[1]

    try:
        for name in NAMES:
            assert (2, 2) == await counted(name)
        await connection.execute(
            "CREATE TABLE usage_records_2031_01 PARTITION OF usage_records "
            "FOR VALUES FROM ('2031-01-01+00') TO ('2031-02-01+00')"
        )
        # What is left when a process ends while the parts are built: one that is half built, and one that is not there.
        text = (FOLDER / "0016_experiment_indexes.sql").read_text()
        await connection.execute("DROP INDEX usage_records_by_experiment")
        await connection.execute(
            "CREATE INDEX usage_records_other_by_experiment ON usage_records_other (experiment_id)"
        )
        await connection.execute(
            "UPDATE pg_index SET indisvalid = false "
            "WHERE indexrelid = 'usage_records_other_by_experiment'::regclass"
        )
        for _ in range(2):
            await concurrent_indexes.build(connection, text)
            assert (3, 3) == await counted("usage_records_by_experiment")
        # The half built one was another index.
        made = await connection.fetchval(
            "SELECT pg_get_indexdef('usage_records_other_by_experiment'::regclass)"
        )
        assert made.endswith("WHERE (experiment_id <> ''::text)")
        with pytest.raises(ValueError, match="expected CREATE INDEX"):
            await concurrent_indexes.build(connection, "-- concurrently\nDROP TABLE usage_records;")
    finally:
        await connection.close()


WAITS = "SELECT EXISTS (SELECT FROM pg_locks WHERE pid = $1 AND NOT granted)"


async def test_a_part_that_is_made_while_an_index_is_built_has_its_own(empty_database: str) -> None:
    connection, maker = await asyncpg.connect(empty_database), await asyncpg.connect(empty_database)
    try:
        await connection.execute(
            "CREATE TABLE t (id int, at int) PARTITION BY RANGE (at);"
            "CREATE TABLE t_1 PARTITION OF t FOR VALUES FROM (0) TO (10)"
        )
        making = maker.transaction()
        await making.start()
        await maker.execute("CREATE TABLE t_2 PARTITION OF t FOR VALUES FROM (10) TO (20)")
        building = asyncio.create_task(
            concurrent_indexes.build(connection, "-- concurrently\nCREATE INDEX t_by_id ON t (id);")
        )
        while not await maker.fetchval(WAITS, connection.get_server_pid()):
            await asyncio.sleep(0.01)
        await making.commit()
        await asyncio.wait_for(building, 60)

        assert (3, 3) == tuple(await maker.fetchrow(VALID, "^t_.*by_id$") or ())
    finally:
        await maker.close()
        await connection.close()
