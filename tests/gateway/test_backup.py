"""The backup and the restore of docs/runbook.md, by PostgreSQL's own programs."""

import asyncio
import re
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from services.chassis import redis
from services.gateway import postgres
from services.gateway.config.live import Live
from services.gateway.config.plans import Plans
from services.gateway.migrate import migrate
from services.local import postgres as programs
from tests.gateway.authentication import authenticating, store_of

ROOT = Path(__file__).parents[2]
# What the runbook has people run, without the container that they run it in.
COMMAND = re.compile(r"(pg_dump|pg_restore) ([^'<>\n]*?)-U lumni")
COUNTS = """
SELECT (SELECT count(*) FROM virtual_keys), (SELECT count(*) FROM key_secrets), (SELECT count(*) FROM audit_events),
(SELECT array_agg(name ORDER BY name) FROM schema_migrations)
"""


async def run(program: str, options: str, *more: str, stdin: bytes = b"") -> bytes:
    process = await asyncio.create_subprocess_exec(
        programs.programs() / program,
        *options.split(),
        *more,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate(stdin)
    assert 0 == process.returncode
    return out


async def test_a_database_restored_from_its_backup_has_all_rows_and_knows_all_keys(
    database: str, pool: postgres.Pool, client: redis.Redis, configured: Plans
) -> None:
    options = dict(COMMAND.findall((ROOT / "docs" / "runbook.md").read_text()))
    made = await store_of(pool, client, configured).create("admin", {"user_id": "ann"})
    parts = urlsplit(database)
    restored = urlunsplit(parts._replace(path=f"{parts.path}_restored"))
    await pool.execute(f'CREATE DATABASE "{urlsplit(restored).path[1:]}"')

    backup = await run("pg_dump", options["pg_dump"], "--dbname", database)
    await run("pg_restore", options["pg_restore"], "--dbname", restored, stdin=backup)

    async with postgres.pool(restored) as after:
        assert await pool.fetch(COUNTS) == await after.fetch(COUNTS)
        assert not await migrate(restored)
        async with authenticating(after, client, Live(configured)) as keys:
            assert made["key_id"] == (await keys.caller(made["key"])).key_id
