"""What many tests stand on: a real PostgreSQL and a real Valkey, started once, clean for every test."""

import gc
import os
import shutil
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import certifi
import pytest
import pytest_asyncio
import redis
from hypothesis import HealthCheck, settings
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

from services.chassis import telemetry
from services.gateway.migrate import migrate
from services.local.postgres import UNSAFE, Postgres
from services.local.server import started
from services.local.valkey import Valkey
from tests.deadlines import with_deadline

# The same examples on every machine, and none that is too slow for them.
settings.register_profile(
    "lumni",
    max_examples=50,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("lumni")

# Folders whose tests share what takes long to start: of several workers one runs all of such a folder, but for those of
# a mark or a stack of their own.
TOGETHER = ("executor", "flow", "stores")
# What takes longest begins first, so that no worker is left with it when the others have ended.
FIRST = ("flow", "operated", "executor")
# Folders whose tests run our code in processes of its own, or none of it: tracing theirs would measure nothing.
UNTRACED = ("attacks", "faults", "flow", "fuzz", "local", "simulator")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Import everything without looking for garbage, and never look at it again: LiteLLM alone is a million objects."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say which tests must share a worker, those of a file at least, and which have no coverage to measure."""
    for item in items:
        folder = item.path.relative_to(Path(__file__).parent).parts[0]
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(_group(item, folder)))
        if folder in UNTRACED:
            item.add_marker(pytest.mark.no_cover)


@pytest.hookimpl(trylast=True, specname="pytest_collection_modifyitems")
def pytest_longest_first(items: list[pytest.Item]) -> None:
    """Begin with the longest groups; in these, each arrangement of the services (tests/flow) is started once."""
    arrangements: list[str] = []

    def place(item: pytest.Item) -> tuple[int, int]:
        mark = item.get_closest_marker("xdist_group")
        if mark is None or mark.args[0] not in FIRST:
            return len(FIRST), 0
        parametrized = getattr(item, "callspec", None)
        stack = parametrized.params.get("stack", "") if parametrized else ""
        if stack not in arrangements:
            arrangements.append(stack)
        return FIRST.index(mark.args[0]), arrangements.index(stack)

    items.sort(key=place)


def _group(item: pytest.Item, folder: str) -> str:
    """The tests that must share a worker with this one, by a name."""
    if isinstance(item, pytest.Function) and "operated" in item.fixturenames:
        return "operated"
    return folder if folder in TOGETHER else item.nodeid.partition("::")[0]


@pytest.fixture(scope="session", autouse=True)
def one_authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Trust one certificate authority in place of all: each HTTP client reads them, which takes 20 ms, and calls none.

    Only in this process: what it starts may call somebody.
    """
    end = "-----END CERTIFICATE-----\n"
    everybodys = {certifi.where(), os.environ.get("SSL_CERT_FILE")} - {None}
    first, _, _ = certifi.contents().partition(end)
    file = tmp_path_factory.mktemp("authority") / "cacert.pem"
    file.write_text(first + end)
    create = ssl.create_default_context

    def with_one(
        purpose: ssl.Purpose = ssl.Purpose.SERVER_AUTH, *, cafile: str | None = None, **options: Any
    ) -> ssl.SSLContext:
        return create(purpose, cafile=str(file) if cafile in everybodys else cafile, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(certifi, "where", lambda: str(file))
        patch.setattr(ssl, "create_default_context", with_one)
        yield


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """The spans that ended, of all traces."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(telemetry, "tracer", provider.get_tracer("test"))
    monkeypatch.setattr(telemetry._sampling, "by", TraceIdRatioBased(1))
    return exporter


@pytest.fixture(scope="session")
def servers_folder() -> Iterator[Path]:
    """A folder for servers that, unlike pytest's, another user may enter: PostgreSQL does not run as root."""
    folder = Path(tempfile.mkdtemp(prefix="lumni-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres_server(servers_folder: Path) -> AsyncIterator[Postgres]:
    """The PostgreSQL that all tests share; a test that stops or kills one makes its own with `make_postgres`."""
    async with started(Postgres(servers_folder / "postgres", settings=UNSAFE)) as server:
        yield server


@pytest.fixture(scope="session")
def postgres(postgres_server: Postgres) -> str:
    """The URL of the shared PostgreSQL."""
    return postgres_server.url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres_owner(postgres_server: Postgres) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A connection that makes and drops databases."""
    connection = await asyncpg.connect(postgres_server.url)
    yield connection
    await connection.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def template(postgres_server: Postgres, postgres_owner: "asyncpg.Connection[asyncpg.Record]") -> str:
    """The name of a database with the gateway's tables, copied for every test."""
    await postgres_owner.execute("CREATE DATABASE template_lumni")
    await migrate(postgres_server.database("template_lumni"))
    return "template_lumni"


@pytest_asyncio.fixture(loop_scope="session")
async def empty_database(
    postgres_server: Postgres, postgres_owner: "asyncpg.Connection[asyncpg.Record]"
) -> AsyncIterator[str]:
    """The URL of a database without tables."""
    async with _copied(postgres_server, postgres_owner, "template1") as url:
        yield url


@pytest_asyncio.fixture(loop_scope="session")
async def database(
    postgres_server: Postgres, postgres_owner: "asyncpg.Connection[asyncpg.Record]", template: str
) -> AsyncIterator[str]:
    """The URL of a fresh database with the gateway's tables."""
    async with _copied(postgres_server, postgres_owner, template) as url:
        yield url


@asynccontextmanager
async def _copied(
    server: Postgres, owner: "asyncpg.Connection[asyncpg.Record]", template: str
) -> AsyncIterator[str]:
    """The URL of a copy that lasts as long as the block."""
    name = f"test_{uuid4().hex}"
    # Files are copied as they are: writing each page to the log, as is the default, takes twice as long.
    await owner.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    yield server.database(name)
    await owner.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def valkey_server(servers_folder: Path) -> AsyncIterator[Valkey]:
    """The Valkey that all tests share; a test that stops or kills one makes its own with `make_valkey`."""
    async with started(Valkey(servers_folder / "valkey", settings={"appendonly": "no"})) as server:
        yield server


@pytest.fixture
def valkey(valkey_server: Valkey) -> str:
    """The URL of the shared Valkey, emptied.

    Its deadline is one that a busy machine keeps; tests of deadlines make a Valkey of their own.
    """
    with redis.Redis.from_url(valkey_server.url) as client:
        client.flushall()
    return with_deadline(valkey_server.url, 10)


@pytest.fixture
async def make_postgres(servers_folder: Path) -> AsyncIterator[Callable[[], Postgres]]:
    """Make a PostgreSQL of one's own: `await server.start()`, then stop, kill, pause or resume it at will."""
    async with AsyncExitStack() as ends:

        def make() -> Postgres:
            server = Postgres(servers_folder / uuid4().hex)
            ends.push_async_callback(server.stop)
            return server

        yield make


@pytest.fixture
async def make_valkey(servers_folder: Path) -> AsyncIterator[Callable[[], Valkey]]:
    """Make a Valkey of one's own: `await server.start()`, then stop, kill, pause or resume it at will."""
    async with AsyncExitStack() as ends:

        def make() -> Valkey:
            server = Valkey(servers_folder / uuid4().hex)
            ends.push_async_callback(server.stop)
            return server

        yield make
