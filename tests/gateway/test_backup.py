"""The backup and the restore of docs/runbook.md, by PostgreSQL's own programs."""

import asyncio
import re
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from services.chassis import redis, redis_keys
from services.gateway import postgres
from services.gateway.config.live import Live
from services.gateway.config.plans import Plans
from services.gateway.ledger import event_rows
from services.gateway.ledger.store import LedgerStore
from services.gateway.ledger.writer import LedgerWriter
from services.gateway.migrate import migrate
from services.gateway.requests.request_ids import request_id
from services.local import postgres as programs
from tests.gateway.authentication import authenticating, store_of
from tests.gateway.money import FINAL, event

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


async def spend(pool: postgres.Pool, client: redis.Redis, nano_usd: int) -> None:
    """Write an attempt that cost so much, and publish the sum."""
    ended = event(FINAL, request=request_id(), user="ann", cost=nano_usd)
    await LedgerWriter(client, LedgerStore(pool)).write([event_rows.usage(ended.SerializeToString())])


async def test_a_database_restored_from_its_backup_has_all_rows_and_knows_all_keys(
    database: str, pool: postgres.Pool, client: redis.Redis, configured: Plans
) -> None:
    options = dict(COMMAND.findall((ROOT / "docs" / "runbook.md").read_text()))
    (statement,) = re.findall(r'psql -U lumni -c "([^"]+)"', (ROOT / "docs" / "runbook.md").read_text())
    made = await store_of(pool, client, configured).create("admin", {"user_id": "ann"})
    await spend(pool, client, 100)
    parts = urlsplit(database)
    restored = urlunsplit(parts._replace(path=f"{parts.path}_restored"))
    await pool.execute(f'CREATE DATABASE "{urlsplit(restored).path[1:]}"')

    backup = await run("pg_dump", options["pg_dump"], "--dbname", database)
    await run("pg_restore", options["pg_restore"], "--dbname", restored, stdin=backup)

    # Redis goes on knowing what was spent since.
    await spend(pool, client, 40)
    async with postgres.pool(restored) as after:
        assert await pool.fetch(COUNTS) == await after.fetch(COUNTS)
        await after.execute(statement)
        await spend(after, client, 7)
        assert b"107" == await client.hget(redis_keys.spent("user:ann", "total"), "ledger")
        assert not await migrate(restored)
        async with authenticating(after, client, Live(configured)) as keys:
            assert made["key_id"] == (await keys.caller(made["key"])).key_id
