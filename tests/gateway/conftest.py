"""What tests of keys, limits and the ledger stand on: real stores, and makers of callers and events."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from services.chassis import redis
from services.gateway import postgres
from services.gateway.config import plans
from services.gateway.config.plans import Plans

CONFIG = Path(__file__).parents[2] / "config" / "lumni.yaml"


@pytest.fixture
async def pool(database: str) -> AsyncIterator[postgres.Pool]:
    """Connections to a fresh database with the gateway's tables."""
    async with postgres.pool(database) as one:
        yield one


@pytest.fixture
async def client(valkey: str) -> AsyncIterator[redis.Redis]:
    """A client of an empty Valkey that may block for a while."""
    async with redis.connect(valkey, timeout_s=5) as one:
        yield one


@pytest.fixture(scope="session")
def configured() -> Plans:
    """The plans that ship with Lumni."""
    return plans.load(CONFIG)


@asynccontextmanager
async def running(*works: Awaitable[None]) -> AsyncIterator[None]:
    """Do work in the background until the block ends; what fails there fails here."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
                raise result


async def eventually(condition: Callable[[], Awaitable[bool]], within_s: float = 60.0) -> None:
    """Wait until a condition holds; the limit only catches one that never does."""
    deadline = time.monotonic() + within_s
    while not await condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)
