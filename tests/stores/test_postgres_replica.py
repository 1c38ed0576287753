"""PostgreSQL with a replica: reports are read there, and the gateway goes on at it when it is promoted."""

import asyncio
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest

from services.gateway import postgres
from services.gateway.ledger.retention import Retention
from services.gateway.migrate import migrate
from services.gateway.reports.readers import Readers
from services.local.postgres import Postgres
from services.local.server import started
from tests.gateway.conftest import eventually

pytestmark = pytest.mark.timeout(600)
COUNT = "SELECT count(*) FROM key_changes"
WRITE = "INSERT INTO key_changes (subject) VALUES ('key:k1')"


class Replica(Postgres):
    """A replica of another server, which it follows from its first start on."""

    def __init__(self, folder: Path, primary: Postgres) -> None:
        super().__init__(folder)
        folder.mkdir(mode=0o711)
        shutil.copy(primary._folder / "password", folder / "password")
        self._primary = primary

    def _prepare(self) -> None:
        if os.geteuid() == 0:
            self._nobody = self._can_be_nobody()
            self._prefix = self._primary._prefix
        self._data.mkdir(mode=0o700)
        self._own(self._data)
        self._run(
            "pg_basebackup", f"--dbname={self._primary.url}", f"--pgdata={self._data}", "-R", "-c", "fast"
        )

    async def answers(self) -> bool:
        """Whether it can be read."""
        try:
            connection = await asyncpg.connect(self.url, timeout=1)
        except (OSError, asyncpg.PostgresError):
            return False
        await connection.close()
        return True


async def test_a_replica_serves_reports_and_then_everything(servers_folder: Path) -> None:
    folder = servers_folder / "replicated"
    async with started(Postgres(folder)) as primary:
        await migrate(primary.url)
        async with started(Replica(servers_folder / "replica", primary)) as replica:
            hosts = f"127.0.0.1:{primary.port},127.0.0.1:{replica.port}"
            url = primary.url.replace(f"127.0.0.1:{primary.port}", hosts) + "?target_session_attrs=primary"
            async with postgres.pool(url, timeout_s=10) as pool, postgres.pool(replica.url) as reading:
                await Retention(pool).make_partitions(datetime.now(UTC))
                await pool.execute(WRITE)
                readers = Readers(reading)

                async def read() -> bool:
                    async with readers.connection() as connection:
                        return bool(1 == await connection.fetchval(COUNT))

                await eventually(read)
                with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
                    await reading.execute(WRITE)

                primary.kill()
                connection = await asyncpg.connect(replica.url)
                assert await connection.fetchval("SELECT pg_promote()")
                await connection.close()

                async def written() -> bool:
                    try:
                        async with asyncio.timeout(10):
                            await pool.execute(WRITE)
                    except postgres.ERRORS:
                        return False
                    return True

                await eventually(written)
                assert 2 == await pool.fetchval(COUNT)
