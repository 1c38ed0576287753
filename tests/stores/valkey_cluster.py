"""A real cluster of Valkey servers: three primaries and a replica of each, on loopback with a user for each service."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from services.chassis import redis, redis_acl
from services.local import ports, secret
from services.local.server import started
from services.local.valkey import Valkey

PRIMARIES = 3
SLOTS = 16384
# Until a silent server is called failed, in milliseconds: short, so that tests wait less.
NODE_TIMEOUT_MS = 3000
# A cluster that takes longer than this, in seconds, to form or to promote a replica has failed.
STALLED_S = 120


class ValkeyCluster:
    """The servers, at first the primaries and then their replicas, and the cluster's addresses."""

    def __init__(self, servers: list[Valkey], bus: list[int]) -> None:
        self.servers = servers
        # The ports at which they speak with each other.
        self._bus = bus

    @property
    def url(self) -> str:
        """The address for whoever operates it."""
        return _joined([server.url for server in self.servers])

    def url_of(self, service: str) -> str:
        """The address for a service, with the user that it is there."""
        return _joined([server.url_of(service) for server in self.servers])

    async def primary_of(self, key: str) -> Valkey:
        """The server that has a key now."""
        async with redis.connect(self.url, timeout_s=5) as client:
            port = (await redis.server_of(client, key)).connection_pool.connection_kwargs["port"]
        return next(server for server in self.servers if server.port == port)

    async def promoted(self, dead: Valkey, key: str) -> None:
        """Wait until another server than `dead` has a key."""
        async with asyncio.timeout(STALLED_S):
            while await self.primary_of(key) is dead:
                await asyncio.sleep(0.1)

    async def whole(self) -> None:
        """Wait until all slots are served, and every server that runs and is no primary is a replica in step."""
        async with asyncio.timeout(STALLED_S):
            for server in self.servers:
                while server.pid is not None and not await _in_step(server):
                    await asyncio.sleep(0.05)

    async def form(self) -> None:
        """Make a cluster of the servers."""
        first, *others = self.servers
        share = -(-SLOTS // PRIMARIES)
        for number, server in enumerate(self.servers[:PRIMARIES]):
            await _ask(
                server, "CLUSTER", "ADDSLOTSRANGE", number * share, min(SLOTS, (number + 1) * share) - 1
            )
        for server in others:
            await _ask(server, "CLUSTER", "MEET", "127.0.0.1", first.port, self._bus[0])
        async with asyncio.timeout(STALLED_S):
            for server in self.servers:
                while len(_lines(await _ask(server, "CLUSTER", "NODES"))) < len(self.servers):
                    await asyncio.sleep(0.05)
        for primary, replica in zip(self.servers[:PRIMARIES], self.servers[PRIMARIES:], strict=True):
            ident = redis.text(await _ask(primary, "CLUSTER", "MYID"))
            await _ask(replica, "CLUSTER", "REPLICATE", ident)
        await self.whole()


@asynccontextmanager
async def running(folder: Path, **settings: str) -> AsyncIterator[ValkeyCluster]:
    """Start a cluster on free ports until the block ends; `settings` are those of each server, _ for -."""
    passwords = {name: secrets.token_urlsafe(24) for name in ("", *redis_acl.USERS)}
    async with AsyncExitStack() as ends:
        servers = []
        bus = [ports.free() for _ in range(2 * PRIMARIES)]
        for number in range(2 * PRIMARIES):
            own = folder / f"valkey-{number}"
            for name, password in passwords.items():
                secret.write(own / (f"password-{name}" if name else "password"), password)
            node = {
                "appendonly": "no",
                "cluster-enabled": "yes",
                "cluster-port": str(bus[number]),
                "cluster-node-timeout": str(NODE_TIMEOUT_MS),
                "cluster-require-full-coverage": "no",
                # A replica takes part in a failover, however long ago it was last in step.
                "cluster-replica-validity-factor": "0",
                "primaryauth": passwords[""],
                "repl-diskless-sync-delay": "0",
                **{name.replace("_", "-"): value for name, value in settings.items()},
            }
            servers.append(await ends.enter_async_context(started(Valkey(own, settings=node))))
        cluster = ValkeyCluster(servers, bus)
        await cluster.form()
        yield cluster


async def _in_step(server: Valkey) -> bool:
    try:
        facts = dict(line.partition(":")[::2] for line in _lines(await _ask(server, "CLUSTER", "INFO")))
        role, *more = await _ask(server, "ROLE")
    except redis.ERRORS:
        return False
    linked = redis.text(role) == "master" or redis.text(more[2]) == "connected"
    return facts["cluster_state"] == "ok" and int(facts["cluster_slots_ok"]) == SLOTS and linked


async def _ask(server: Valkey, *command: Any) -> Any:
    async with redis.connect(server.url, timeout_s=5) as client:
        (answer,) = redis.checked(await redis.exchange(client, [command]))
    return answer


def _lines(answer: Any) -> list[str]:
    return redis.text(answer).strip().splitlines()


def _joined(urls: list[str]) -> str:
    user, _, _ = urls[0].removeprefix("redis://").rpartition("@")
    hosts = ",".join(url.rpartition("@")[2].removesuffix("/0") for url in urls)
    return f"redis+cluster://{user}@{hosts}"
