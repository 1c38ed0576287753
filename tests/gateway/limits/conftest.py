"""Limits on a real Valkey: one gateway's, and three."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from services.chassis import redis
from services.gateway import postgres
from services.gateway.limits.admission import Limits

YEAR_S = 365 * 86_400.0


@pytest.fixture
async def limits(client: redis.Redis, pool: postgres.Pool) -> AsyncIterator[Limits]:
    async with (one := Limits(client, pool, billable_attempts=1)).delivering():
        yield one


@pytest.fixture
async def three(valkey: str, pool: postgres.Pool) -> AsyncIterator[list[Limits]]:
    """Three gateways' limits, each with connections of its own."""
    async with AsyncExitStack() as stack:
        made = []
        for _ in range(3):
            client = await stack.enter_async_context(redis.connect(valkey, timeout_s=60))
            # One window for the whole test, however slow the machine.
            one = Limits(client, pool, billable_attempts=1, window_s=YEAR_S)
            await stack.enter_async_context(one.delivering())
            made.append(one)
        yield made
