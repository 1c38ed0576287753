"""Clusters and sentinels by TLS, with certificates of both sides: Debian's Redis, for the wheel's Valkey has no TLS."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from services.chassis import redis
from services.local import ports, secret
from services.local.server import Store, started
from tests.chassis import certificates
from tests.stores.sentinels import NAME, STALLED_S
from tests.tools import find_or_skip

pytestmark = pytest.mark.timeout(600)
PRIMARIES = 3
# One key at each of the three servers.
APART = ("a", "b", "c")


@dataclass(frozen=True)
class Files:
    """Of certificates, and the words of an address that name them."""

    certificate: str
    key: str
    authority: str

    @property
    def query(self) -> str:
        """What both sides show."""
        return f"{self.believed}&ssl_certfile={self.certificate}&ssl_keyfile={self.key}"

    @property
    def believed(self) -> str:
        """What a client needs to believe the server, and does not show."""
        return f"ssl_ca_certs={self.authority}"


class TlsServer(Store):
    """One Redis server, or a sentinel, that speaks TLS alone and asks for certificates."""

    name = "redis"

    def __init__(self, folder: Path, files: Files, settings: Sequence[str], mode: Sequence[str] = ()) -> None:
        super().__init__(folder)
        self._program = find_or_skip("redis-check-rdb")
        self._files, self._lines, self._mode = files, settings, mode

    @property
    def url(self) -> str:
        """Its address, for those who have a certificate."""
        return f"rediss://127.0.0.1:{self.port}?{self._files.query}"

    def command(self) -> Sequence[str]:
        """The server by the name that makes it one."""
        program = self._folder / "redis-server"
        if not program.exists():
            program.symlink_to(self._program)
        lines = (
            "bind 127.0.0.1",
            "port 0",
            f"tls-port {self.port}",
            f"tls-cert-file {self._files.certificate}",
            f"tls-key-file {self._files.key}",
            f"tls-ca-cert-file {self._files.authority}",
            "tls-auth-clients yes",
            "tls-replication yes",
            f'dir "{self._folder}"',
            *self._lines,
        )
        file = self._folder / "redis.conf"
        secret.write(file, "".join(f"{line}\n" for line in lines))
        return [str(program), str(file), *self._mode]

    def environment(self) -> Mapping[str, str]:
        """Its libraries lie beside the program."""
        return {"PATH": "/usr/bin:/bin", "LD_LIBRARY_PATH": str(self._program.parent)}

    async def answers(self) -> bool:
        """Whether it answers a ping."""
        async with redis.connect(self.url, timeout_s=0.5) as client:
            try:
                return bool(await client.ping())
            except redis.ERRORS:
                return False


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Certificates for this machine."""
    authority = trustme.CA()
    certificates.write(tmp_path / "own", authority.issue_cert("127.0.0.1"), authority)
    own = certificates.settings(tmp_path / "own")
    return Files(own.tls_cert, own.tls_key, own.tls_ca)


@asynccontextmanager
async def cluster(folder: Path, files: Files) -> AsyncIterator[str]:
    """Three servers with a third of the slots each; yields what stands between scheme and query of their address."""
    async with AsyncExitStack() as ends:
        servers = []
        bus = [ports.free() for _ in range(PRIMARIES)]
        for number in range(PRIMARIES):
            settings = ("cluster-enabled yes", "tls-cluster yes", f"cluster-port {bus[number]}", 'save ""')
            own = TlsServer(folder / f"server-{number}", files, settings)
            servers.append(await ends.enter_async_context(started(own)))
        share = -(-16384 // PRIMARIES)
        for number, server in enumerate(servers):
            last = min(16384, (number + 1) * share) - 1
            await ask(server, "CLUSTER", "ADDSLOTSRANGE", number * share, last)
            await ask(server, "CLUSTER", "MEET", "127.0.0.1", servers[0].port, bus[0])
        async with asyncio.timeout(STALLED_S):
            for server in servers:
                while "cluster_state:ok" not in redis.text(await ask(server, "CLUSTER", "INFO")):
                    await asyncio.sleep(0.05)
        yield ",".join(f"127.0.0.1:{server.port}" for server in servers)


async def ask(server: TlsServer, *command: str | int) -> object:
    """What one server answers."""
    async with redis.connect(server.url, timeout_s=5) as client:
        (answer,) = redis.checked(await redis.exchange(client, [command]))
    return answer


async def test_a_cluster_is_found_by_tls_from_one_server(servers_folder: Path, files: Files) -> None:
    async with cluster(servers_folder / "tls", files) as hosts:
        first = hosts.partition(",")[0]
        async with redis.connect(f"rediss+cluster://{first}?{files.query}", timeout_s=10) as client:
            assert 3 == len({(await redis.server_of(client, key)).connection_pool for key in APART})
            assert [b"OK"] * 3 == await redis.exchange(client, [("SET", key, key) for key in APART])
            assert [b"a", b"b", b"c"] == await redis.exchange(client, [("GET", key) for key in APART])

        # Who shows no certificate, does not believe the servers', or speaks no TLS.
        for refused in (
            f"rediss+cluster://{hosts}?{files.believed}",
            f"rediss+cluster://{hosts}",
            f"redis+cluster://{hosts}",
        ):
            async with redis.connect(refused, timeout_s=10) as client:
                with pytest.raises(redis.ERRORS):
                    await client.get("a")


async def test_the_primary_of_a_sentinel_is_found_by_tls_and_so_is_the_next(
    servers_folder: Path, files: Files
) -> None:
    folder = servers_folder / "tls-sentinel"
    own_password = secrets.token_hex(16)
    async with AsyncExitStack() as ends:
        primary = await ends.enter_async_context(started(TlsServer(folder / "primary", files, ('save ""',))))
        following = (f"replicaof 127.0.0.1 {primary.port}", 'save ""', "repl-diskless-sync-delay 0")
        replica = await ends.enter_async_context(started(TlsServer(folder / "replica", files, following)))
        watching = (
            f"sentinel monitor {NAME} 127.0.0.1 {primary.port} 1",
            f"sentinel down-after-milliseconds {NAME} 1000",
            f"requirepass {own_password}",
        )
        sentinel = TlsServer(folder / "sentinel", files, watching, ["--sentinel"])
        address = f"rediss+sentinel://127.0.0.1:{sentinel.port}/{NAME}?sentinel_password={own_password}&{files.query}"
        sentinel.spawn()
        ends.push_async_callback(sentinel.stop)
        async with redis.connect(address, timeout_s=10) as client, asyncio.timeout(STALLED_S):
            while not await written(client, "first"):
                await asyncio.sleep(0.05)
            while (await client.info("replication"))["connected_slaves"] < 1:
                await asyncio.sleep(0.05)
            assert 1 == await client.wait(1, 10_000)
            primary.kill()
            while not await written(client, "second"):
                await asyncio.sleep(0.05)
            assert b"first" == await client.get("first")
        async with redis.connect(replica.url, timeout_s=5) as client:
            assert b"second" == await client.get("second")


async def written(client: redis.Redis, word: str) -> bool:
    """Whether a word could be written."""
    try:
        return bool(await client.set(word, word))
    except redis.ERRORS:
        return False
