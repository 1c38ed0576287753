"""The gateway's connections go through PgBouncer in transaction mode."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import asyncpg
import pytest

from services.gateway import postgres
from services.local.postgres import NOBODY, Postgres
from services.local.server import Store, started
from tests import tools

pytestmark = pytest.mark.timeout(600)
# Fewer than those who ask at the same time, so that they take turns.
CONNECTIONS = 2
ASKING = 8


class PgBouncer(Store):
    """A pooler before a server, which it may not run as root either."""

    name = "pgbouncer"

    def __init__(self, folder: Path, program: Path, url: str) -> None:
        super().__init__(folder)
        self._program = program
        self._server = url.rpartition("@")[2].partition("/")[0]
        self._credentials = url.removeprefix("postgresql://").partition("@")[0]
        self._database = url.rpartition("/")[2]

    @property
    def url(self) -> str:
        """The database's address behind it."""
        return f"postgresql://{self._credentials}@127.0.0.1:{self.port}/{self._database}"

    def command(self) -> Sequence[str]:
        """The pooler and its files."""
        host, _, port = self._server.partition(":")
        user, _, password = self._credentials.partition(":")
        users, file = self._folder / "users.txt", self._folder / "pgbouncer.ini"
        users.write_text(f'"{user}" "{password}"\n')
        file.write_text(
            f"[databases]\n{self._database} = host={host} port={port}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\n"
            f"auth_type = scram-sha-256\nauth_file = {users}\n"
            f"pool_mode = transaction\ndefault_pool_size = {CONNECTIONS}\n"
        )
        return [str(self._program), str(file)]

    def user(self) -> int | None:
        """Nobody."""
        return NOBODY

    def environment(self) -> dict[str, str]:
        """Where its libraries are, if they are not the system's."""
        return {"PATH": "/usr/bin:/bin", "LD_LIBRARY_PATH": str(self._program.parent)}

    async def answers(self) -> bool:
        """Whether the server answers through it."""
        try:
            connection = await asyncpg.connect(self.url, timeout=1)
        except (OSError, asyncpg.PostgresError):
            return False
        await connection.close()
        return True


@pytest.fixture
async def pooled(database: str, postgres_server: Postgres, servers_folder: Path) -> AsyncIterator[str]:
    """The address of a fresh database behind the pooler."""
    try:
        found = tools.find("pgbouncer")
    except tools.Absent as reason:
        pytest.skip(str(reason))
    folder = servers_folder / "pgbouncer"
    folder.mkdir(mode=0o711)
    # Where nobody may run it, and read the libraries that were unpacked with it.
    for path in (found, *found.parent.glob("lib*.so.*")) if found.parent == tools.FOLDER else (found,):
        shutil.copy(path, folder)
    program = folder / found.name
    async with started(PgBouncer(folder, program, database)) as server:
        yield server.url


async def test_statements_and_transactions_of_many_take_turns_on_few_connections(pooled: str) -> None:
    async with postgres.pool(pooled, size=ASKING, timeout_s=30, transaction_pooler=True) as pool:

        async def ask(number: int) -> None:
            for _ in range(20):
                assert number == await pool.fetchval("SELECT $1::int + count(*) FROM virtual_keys", number)
                async with postgres.connection(pool) as connection, connection.transaction():
                    await connection.execute("INSERT INTO key_changes (subject) VALUES ($1)", f"key:{number}")
                    assert {"n": number} == await connection.fetchval("SELECT $1::jsonb", {"n": number})

        await asyncio.gather(*map(ask, range(ASKING)))

        counted = await pool.fetch("SELECT subject, count(*) AS n FROM key_changes GROUP BY 1")
    assert {f"key:{number}": 20 for number in range(ASKING)} == {row["subject"]: row["n"] for row in counted}
