"""A ledger that runs beside the test."""

from collections.abc import AsyncIterator

import pytest

from services.chassis import redis
from services.gateway import postgres
from tests.gateway.ledgers import Ledger


@pytest.fixture
async def ledger(pool: postgres.Pool, client: redis.Redis) -> AsyncIterator[Ledger]:
    """All parts of a ledger process, running."""
    one = Ledger(pool, client)
    async with one.open():
        yield one
