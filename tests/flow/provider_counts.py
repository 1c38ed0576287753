"""Whether the ledger counts what the provider counts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import asyncpg

from tests.flow.stack import Stack
from tests.gateway.conftest import eventually
from tests.simulator import Simulator

SUMS = """
SELECT count(*)::int AS requests, coalesce(sum(prompt_tokens), 0)::int AS prompt_tokens,
       coalesce(sum(completion_tokens), 0)::int AS completion_tokens,
       coalesce(sum(cost_nano_usd), 0)::bigint AS cost_nano_usd
FROM usage_records WHERE model = $1 AND started_at >= $2 AND kind = 'final'
"""
COUNTED = ("requests", "prompt_tokens", "completion_tokens")


@dataclass(slots=True)
class Bill:
    """What the ledger has for the requests of a block, once it has ended."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_nano_usd: int = 0


@asynccontextmanager
async def counted_alike(stack: Stack, provider: Simulator, model: str) -> AsyncIterator[Bill]:
    """Fail unless the ledger has, for a model and the time of the block, the provider's own counts to the token."""
    bill, began = Bill(), datetime.now(UTC)
    before = await _answered(provider, model)
    yield bill
    after = await _answered(provider, model)
    counted = {name: after.get(name, 0) - before.get(name, 0) for name in COUNTED}
    connection = await asyncpg.connect(stack.database)
    try:

        async def all_written() -> bool:
            sums: Any = await connection.fetchrow(SUMS, model, began)
            for name, value in sums.items():
                setattr(bill, name, value)
            return bool(bill.requests >= counted["requests"])

        await eventually(all_written)
    finally:
        await connection.close()
    assert counted == {name: getattr(bill, name) for name in COUNTED}


async def _answered(provider: Simulator, model: str) -> dict[str, Any]:
    found: dict[str, Any] = (await provider.counts())["models"].get(model, {}).get("answered", {})
    return found
