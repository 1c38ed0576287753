"""Alerts without Prometheus, from a fault to the webhook's messages: each fires, and is over when the fault is."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from tests.flow.operated import Operated
from tests.flow.stack import ALLOWED_FAILS
from tests.simulator import Simulator

pytestmark = pytest.mark.asyncio(loop_scope="session")


@asynccontextmanager
async def misbehaving(provider: Simulator, model: str, how: str) -> AsyncIterator[None]:
    """Until the block ends the provider answers each request for a model in this way."""
    await provider.script(model, standing=how)
    try:
        yield
    finally:
        await provider.script(model, standing="")


async def ask(operated: Operated, model: str, times: int) -> list[int]:
    """The status of each answer."""
    body = {"model": model, "messages": [{"role": "user", "content": "What is 17 * 23?"}]}
    answers = await asyncio.gather(
        *(operated.client.post("/v1/chat/completions", json=body) for _ in range(times))
    )
    return [answer.status_code for answer in answers]


async def test_failing_requests_are_told_until_enough_are_answered(
    operated: Operated, provider: Simulator
) -> None:
    async with misbehaving(provider, "small", "500"):
        assert 200 not in await ask(operated, "small", 8)
        await operated.webhook.until_told("LumniErrorRateHigh", "firing")

    assert {200} == set(await ask(operated, "small", 40))
    await operated.webhook.until_told("LumniErrorRateHigh", "resolved")


async def test_a_provider_that_is_down_is_told_until_it_answers(
    operated: Operated, provider: Simulator
) -> None:
    async with misbehaving(provider, "large", "503"):
        await ask(operated, "large", ALLOWED_FAILS + 1)
        await operated.webhook.until_told("LumniDeploymentDown", "firing")
    told = [one["summary"] for one in operated.webhook.messages if one["alert"] == "LumniDeploymentDown"]
    assert ["the circuit breakers of large@openai are open"] == told

    async with asyncio.timeout(60):
        # Refused at once, until the breaker lets one call try whether the provider is back.
        while await ask(operated, "large", 1) != [200]:
            await asyncio.sleep(0.1)
    await operated.webhook.until_told("LumniDeploymentDown", "resolved")


async def test_slow_answers_are_told_until_they_are_quick(operated: Operated, provider: Simulator) -> None:
    async with misbehaving(provider, "vectors", "slow-2500"):
        body = {"model": "vectors", "input": "What is 17 * 23?"}
        # More than what is left in the window of other tests.
        await asyncio.gather(*(operated.client.post("/v1/embeddings", json=body) for _ in range(8)))
        await operated.webhook.until_told("LumniResponseTimeHigh", "firing")

    # When the slow ones have left the window.
    await operated.webhook.until_told("LumniResponseTimeHigh", "resolved")


async def test_a_ledger_that_cannot_write_is_told_until_it_can(operated: Operated) -> None:
    database = await asyncpg.connect(operated.stack.database)
    try:
        async with database.transaction():
            await database.execute("LOCK TABLE usage_records IN ACCESS EXCLUSIVE MODE")
            assert [200] == await ask(operated, "small", 1)
            await operated.webhook.until_told("LumniLedgerBehind", "firing")
        await operated.webhook.until_told("LumniLedgerBehind", "resolved")
    finally:
        await database.close()


async def test_a_budget_that_burns_is_told_until_the_short_windows_are_over(operated: Operated) -> None:
    # 0.12 USD: 12 % of the budget of 30 days, within a second.
    for _ in range(3):
        answer = await operated.client.post(
            "/v1/images/generations", json={"model": "dall-e", "prompt": "A cat"}
        )
        assert 200 == answer.status_code
    await operated.webhook.until_told("LumniBudgetBurnFast", "firing")
    await operated.webhook.until_told("LumniBudgetBurnSlow", "firing")

    database = await asyncpg.connect(operated.stack.database)
    try:
        # As if half an hour had passed.
        await database.execute("UPDATE usage_records SET started_at = started_at - interval '31 minutes'")
    finally:
        await database.close()
    await operated.webhook.until_told("LumniBudgetBurnFast", "resolved")
    await operated.webhook.until_told("LumniBudgetBurnSlow", "resolved")
