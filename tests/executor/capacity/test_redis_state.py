"""Each attempt counts once for the breaker, however the run retries, falls back or is cancelled."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio as redis

from services.chassis import redis_keys
from tests.executor.service import deployments, executor
from tests.simulator import Simulator

COUNTED = ("500", "503", "401", "html", "cut-2", "empty")
NOT_COUNTED = ("400", "404", "413", "429")


async def counted(url: str, ident: str) -> int:
    """The failures of a deployment that all replicas know of."""
    async with redis.from_url(url) as client:
        buckets: Any = await client.hvals(redis_keys.breaker_failures(ident))
    return sum(map(int, buckets))


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_each_failed_attempt_is_counted_exactly_once(
    stream: bool, simulator: Simulator, valkey: str, tmp_path: Path
) -> None:
    models = [(word, f"openai/m-sim-{word}") for word in (*COUNTED, *NOT_COUNTED)]
    config = deployments(simulator.url, [*models, ("good", "openai/m")], num_retries=2)
    made: Counter[str] = Counter()
    async with executor(tmp_path, config, valkey) as caller:
        for ident, _ in models:
            for others in ((), ("good",), ("503", "good")):
                outcome = await caller.ask(ident, *others, stream=stream)
                made.update(one.deployment for one in outcome.report.attempts if one.error_class)
        seen = (await simulator.counts())["models"]
        sums = {ident: await settled(valkey, ident, made[ident]) for ident, _ in models}

    assert all(made.values())
    assert {ident: sums[ident] for ident in COUNTED} == {ident: made[ident] for ident in COUNTED}
    assert {ident: sums[ident] for ident in NOT_COUNTED} == dict.fromkeys(NOT_COUNTED, 0)
    # What the run reports is what the provider saw.
    requests = {ident: sum(one["requests"] for one in seen[f"m-sim-{ident}"].values()) for ident, _ in models}
    assert requests == {ident: made[ident] for ident, _ in models}
    assert max(made.values()) > 9


async def settled(url: str, ident: str, wanted: int) -> int:
    """The count, once it is as wanted or has had the time to be: it is published after the call."""
    for _ in range(3000 if ident in COUNTED else 1):
        if (found := await counted(url, ident)) >= wanted:
            break
        await asyncio.sleep(0.02)
    return found


async def test_a_caller_that_disconnects_counts_for_nothing(
    simulator: Simulator, valkey: str, tmp_path: Path
) -> None:
    config = deployments(simulator.url, [("slow", "openai/m-sim-slow-5000")])
    async with executor(tmp_path, config, valkey) as caller:
        await caller.ask("slow", timeout_s=2)
        await caller.ended(1)
        assert await counted(valkey, "slow") == 0
