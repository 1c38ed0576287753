"""One running stack for the tests of a module that does it no harm."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import openai
import portkey_ai
import pytest
import pytest_asyncio

from services.chassis import redis
from services.gateway.migrate import migrate
from services.local.postgres import Postgres
from services.local.server import started
from services.local.valkey import Valkey
from tests import simulator
from tests.flow import operated as operating
from tests.flow import stack as stacks
from tests.flow.operated import Operated
from tests.flow.stack import Stack
from tests.otlp import Collector, collecting
from tests.simulator import Simulator

PORTKEY_KEY = "pk-canary"
# What is to be seen in all arrangements is seen in these. Two workers are each all services together; one process alone
# is what `operated` runs, and tests/flow/test_litellm_configuration.py.
ALL = ("apart", "deciding", "workers")
# What is on in one arrangement alone.
MORE = {
    "workers": {
        "LUMNI_CACHE_KEY": "a-key-of-the-tests-for-what-is-cached",
        "LUMNI_CACHE_SEMANTIC": "true",
    }
}


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def provider() -> AsyncIterator[Simulator]:
    """The provider simulator, in a process of its own."""
    async with simulator.spawned() as one:
        yield one


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    """Where the stack's spans go."""
    with collecting() as one:
        yield one


@pytest.fixture(scope="session")
def portkey() -> Iterator[Collector]:
    """Where they go too."""
    with collecting(PORTKEY_KEY) as one:
        yield one


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test runs with the services apart, or in the arrangements of its mark."""
    if "stack" in metafunc.fixturenames:
        mark = next(metafunc.definition.iter_markers("arrangements"), None)
        chosen = ["apart"] if mark is None else mark.args or ALL
        metafunc.parametrize("stack", chosen, indirect=True, scope="session")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stack(
    request: pytest.FixtureRequest,
    servers_folder: Path,
    postgres_server: Postgres,
    provider: Simulator,
    collector: Collector,
    portkey: Collector,
) -> AsyncIterator[Stack]:
    """All services in one arrangement, with a Valkey of their own."""
    name = f"flow_{request.param}"
    async with started(Valkey(servers_folder / f"{name}-valkey", settings={"appendonly": "no"})) as valkey:
        await execute(postgres_server.url, f"CREATE DATABASE {name}")
        database = postgres_server.database(name)
        await migrate(database)
        telemetry = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.address,
            "PORTKEY_API_KEY": PORTKEY_KEY,
            "LUMNI_PORTKEY_OTLP": f"{portkey.address}/v1/otel/v1/traces",
        }
        async with stacks.running(
            servers_folder / name,
            database=database,
            valkey=valkey,
            simulator=provider.url,
            extra=telemetry | MORE.get(request.param, {}),
            arrangement=request.param,
        ) as one:
            one.database, one.valkey = database, valkey.url
            yield one
        async with redis.connect(valkey.url, timeout_s=5) as client:
            # Each service was allowed in Redis whatever its code did in all these tests.
            refused = await client.acl_log()
            assert [] == refused


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def operated(
    servers_folder: Path, postgres_server: Postgres, provider: Simulator, collector: Collector
) -> AsyncIterator[Operated]:
    """All services in one process with everything on that operators may turn on, with a Valkey of their own."""
    name = "flow_operated"
    async with started(Valkey(servers_folder / f"{name}-valkey", settings={"appendonly": "no"})) as valkey:
        await execute(postgres_server.url, f"CREATE DATABASE {name}")
        database = postgres_server.database(name)
        await migrate(database)
        async with operating.running(
            servers_folder / name, database=database, valkey=valkey, simulator=provider, collector=collector
        ) as one:
            yield one


async def execute(url: str, statement: str) -> None:
    """Run one statement."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture
async def http(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client with the app's key."""
    async with httpx.AsyncClient(
        base_url=stack.rest, headers=stack.headers, timeout=60, trust_env=False
    ) as client:
        yield client


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[openai.AsyncOpenAI]:
    """The official OpenAI client, unchanged."""
    async with openai.AsyncOpenAI(base_url=f"{stack.rest}/v1", api_key=stacks.API_KEY, max_retries=0) as one:
        yield one


@pytest.fixture
async def admin(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client with the admin's key."""
    headers = {"authorization": f"Bearer {stacks.ADMIN_KEY}"}
    async with httpx.AsyncClient(base_url=stack.rest, headers=headers, timeout=60, trust_env=False) as client:
        yield client


@pytest.fixture
async def portkey_client(stack: Stack) -> AsyncIterator[Any]:
    """Portkey's official client, pointed at Lumni."""
    client = portkey_ai.AsyncPortkey(api_key=stacks.API_KEY, base_url=f"{stack.rest}/v1", max_retries=0)
    yield client
    await client.close()
    await client.openai_client.close()
