"""Probes of idle deployments: what they ask, which they leave out, and what they may cost."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from services.chassis.deployments import Deployment
from services.chassis.operations import Operation
from services.executor.attempts.model import Work
from services.executor.capacity.breaker import Breakers, Thresholds
from services.executor.capacity.daily_budget import DAY_S, DailyBudget
from services.executor.capacity.gate import CapacityGate
from services.executor.capacity.prober import Prober
from services.executor.capacity.quotas import LocalQuotaCounter
from services.executor.capacity.redis_state import RedisBreakerStore, RedisGuard
from tests.executor.fleet import deployment

# What a probe of tests.executor.fleet's price may cost at most, in nano-USD: 16 tokens and 1.
BOUND = 20


class Calls:
    """Keeps what is asked, and answers nothing."""

    def __init__(self) -> None:
        self.made: list[Work] = []

    def start(self, work: Work) -> Any:
        self.made.append(work)
        return SimpleNamespace(chunks=self._chunks)

    async def _chunks(self) -> AsyncIterator[str]:
        nothing: tuple[str, ...] = ()
        for chunk in nothing:
            yield chunk

    @property
    def asked(self) -> list[tuple[str, Operation, Mapping[str, Any]]]:
        return [(one.candidates[0].deployment, one.operation, one.body) for one in self.made]


def prober(calls: Calls, budget: DailyBudget, *deployments: Deployment) -> Prober:
    directory: Any = SimpleNamespace(
        fleet=SimpleNamespace(deployments=deployments), is_callable=lambda one: one.key_ref != "NONE"
    )
    store = RedisBreakerStore(RedisGuard(None), "r")
    gate = CapacityGate(Breakers(store, Thresholds), LocalQuotaCounter(), queue=1)
    return Prober(directory, gate, calls.start, 0.01, budget)


async def test_each_kind_of_model_is_asked_for_the_least_and_others_are_left_out() -> None:
    calls = Calls()
    fleet = [
        deployment("http://x", id=mode, mode=mode)
        for mode in ("chat", "completion", "embedding", "moderation", "image_generation")
    ]
    keyless = deployment("http://x", id="keyless", key_ref="NONE")
    task = asyncio.create_task(prober(calls, DailyBudget(3 * BOUND), *fleet, keyless).run())
    async with asyncio.timeout(60):
        while len(calls.made) < 3:
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])

    ping = {"messages": [{"role": "user", "content": "ping"}], "max_tokens": 1}
    assert [
        ("chat", Operation.CHAT, ping),
        ("completion", Operation.COMPLETIONS, {"prompt": "ping", "max_tokens": 1}),
        ("embedding", Operation.EMBEDDINGS, {"input": "ping"}),
    ] == calls.asked


async def test_a_deployment_that_is_called_anyway_is_left_out_until_it_is_idle() -> None:
    calls = Calls()
    busy, idle = deployment("http://x", id="busy"), deployment("http://x", id="idle")
    probing = prober(calls, DailyBudget(100 * BOUND), busy, idle)

    async def until(asked: str, times: int) -> None:
        async with asyncio.timeout(60):
            while [one for one, *_ in calls.asked].count(asked) < times:
                await asyncio.sleep(0.01)

    # Called just now, for as long as it is looked at.
    probing._gate.state(busy).used_at = time.monotonic() + 3600
    task = asyncio.create_task(probing.run())
    await until("idle", 3)
    assert {"idle"} == {one for one, *_ in calls.asked}

    probing._gate.state(busy).used_at = time.monotonic()
    await until("busy", 1)
    task.cancel()
    await asyncio.wait([task])


async def test_probes_end_when_the_days_budget_is_used_up_and_go_on_the_next_day() -> None:
    calls, now = Calls(), [0.0]
    one = deployment("http://x")
    assert BOUND == one.price.bound(16, 1)
    probing = prober(calls, DailyBudget(2 * BOUND + 1, lambda: now[0]), one)
    for _ in range(5):
        await probing.probe(one)
    assert 2 == len(calls.made)
    assert BOUND == calls.made[0].candidates[0].max_cost_nano_usd

    now[0] = DAY_S
    await probing.probe(replace(one, price=replace(one.price, known=False)))
    await probing.probe(one)
    assert 3 == len(calls.made)


@pytest.mark.parametrize(("amount", "taken"), [(0, [False]), (5, [True, False]), (6, [True, True])])
def test_a_budget_is_never_overdrawn(amount: int, taken: list[bool]) -> None:
    budget = DailyBudget(amount)

    assert taken == [budget.take(3) for _ in taken]
