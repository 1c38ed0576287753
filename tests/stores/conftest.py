"""One cluster for all tests of this folder, emptied for each."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from services.chassis import redis
from services.gateway import postgres
from tests.stores import valkey_cluster
from tests.stores.valkey_cluster import ValkeyCluster

# What a busy machine keeps.
TIMEOUT_S = 10.0


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def servers(servers_folder: Path) -> AsyncIterator[ValkeyCluster]:
    """The cluster."""
    async with valkey_cluster.running(servers_folder / "cluster") as one:
        yield one


@pytest.fixture
async def cluster(servers: ValkeyCluster) -> ValkeyCluster:
    """The cluster, whole and empty."""
    await servers.whole()
    async with redis.connect(servers.url, timeout_s=TIMEOUT_S) as client:
        for server in await redis.servers(client):
            await server.flushall()
    return servers


@pytest.fixture
async def client(cluster: ValkeyCluster) -> AsyncIterator[redis.Redis]:
    """A client of the cluster."""
    async with redis.connect(cluster.url, timeout_s=TIMEOUT_S) as one:
        yield one


@pytest.fixture
async def pool(database: str) -> AsyncIterator[postgres.Pool]:
    """Connections to a fresh database with the gateway's tables."""
    async with postgres.pool(database, timeout_s=TIMEOUT_S) as one:
        yield one
