"""Bring the database up to date: python -m services.gateway.migrate.

Each file in `migrations` is applied once, in one transaction, by one process at a time; an applied file must never
change. A file of indexes for large tables begins with `-- concurrently`, and is applied outside of a transaction; where
that is interrupted, it goes on the next time.
"""

import asyncio
import hashlib
import logging
import sys
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from services.chassis import configured_environment, process
from services.chassis.config import Secret, part, reader, variable
from services.chassis.telemetry import Settings as Telemetry
from services.gateway import concurrent_indexes

log = logging.getLogger("services.gateway.migrate")

FOLDER = Path(__file__).parent / "migrations"
# Any number, as long as every version of Lumni locks the same one.
LOCK = 0x4C756D6E69
# How long a connection is tried for while the server is still starting, in seconds.
CONNECT_S = 15.0
TIMEOUT_S = 300.0
# How long another process is waited for, in seconds: it may be building indexes.
LOCK_S = concurrent_indexes.BUILD_S
APPLIED = "INSERT INTO schema_migrations (name, digest) VALUES ($1, $2)"


@dataclass(frozen=True)
class Settings:
    """What a migration needs to know."""

    database: Secret = variable("DATABASE_URL", doc="address of PostgreSQL")
    telemetry: Telemetry = part()


class ChangedError(Exception):
    """A migration that was applied is not what it is here."""


async def migrate(url: str) -> list[str]:
    """Apply what is missing; the names of the files applied.

    Raises:
        ChangedError: the database has a migration differently, or has one between this version's that it lacks.
        OSError: PostgreSQL cannot be reached.
    """
    connection = await _connect(url)
    try:
        await _lock(connection)
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations "
            "(name text PRIMARY KEY, digest text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        rows = await connection.fetch("SELECT name, digest FROM schema_migrations")
        return await _apply(connection, {row["name"]: row["digest"] for row in rows})
    finally:
        await connection.close()


async def _connect(url: str) -> asyncpg.Connection:
    deadline = asyncio.get_running_loop().time() + CONNECT_S
    while True:
        try:
            return await asyncpg.connect(url, timeout=5, command_timeout=TIMEOUT_S)
        except (OSError, asyncpg.CannotConnectNowError):
            if asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(0.2)


async def _lock(connection: asyncpg.Connection) -> None:
    """Wait until no other process migrates.

    Asked for again and again: an index that is built concurrently waits for every statement that began before, and one
    that waits for the lock would be such a statement.
    """
    deadline = asyncio.get_running_loop().time() + LOCK_S
    while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK):
        if asyncio.get_running_loop().time() > deadline:
            raise TimeoutError(f"another process has been migrating for {LOCK_S:.0f} s")
        await asyncio.sleep(0.2)


async def _apply(connection: asyncpg.Connection, applied: dict[str, str]) -> list[str]:
    files = {path.name: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.sql"))}
    digests = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in files.items()}
    newest = max(digests)
    newer = sorted(name for name in applied if name > newest)
    if newer:
        # A version that is taken back; what a migration adds does not disturb the version before it.
        log.warning("the database was migrated by a newer version", extra={"newer": newer})
    for name, digest in applied.items():
        if name not in newer and digests.get(name) != digest:
            raise ChangedError(f"{name} is applied but not the same here: this version is not the database's")
    missing = [name for name in files if name not in applied]
    for name in missing:
        if files[name].startswith(concurrent_indexes.MARK):
            await concurrent_indexes.build(connection, files[name])
            await connection.execute(APPLIED, name, digests[name])
        else:
            async with connection.transaction():
                await connection.execute(files[name])
                await connection.execute(APPLIED, name, digests[name])
        log.info("applied %s", name)
    return missing


async def main(settings: Settings) -> None:
    """Migrate and exit; with the reason when the database is another version's."""
    try:
        applied = await migrate(settings.database.reveal())
    except ChangedError as error:
        sys.exit(f"lumni: {error}")
    log.info("the database is up to date", extra={"applied": applied})


if __name__ == "__main__":
    process.run("migrate", reader(Settings, configured_environment.of_gateway), main)
