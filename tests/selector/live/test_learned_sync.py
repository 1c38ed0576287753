"""Evidence and leases of the exploration budget, through a real Valkey."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from google.protobuf.message import DecodeError
from lumni.classifier.v1 import classifier_pb2
from lumni.events.v1 import events_pb2

from services.chassis import redis, redis_keys
from services.chassis.learning import Learning, Mode
from services.selector.live.exploration_bounds import ExplorationBounds
from services.selector.live.learned_evidence import LearnedEvidence
from services.selector.live.learned_sync import LearnedSync
from services.selector.models.learned import Outcomes

NOW, DAY = 86_400.0 * 3 + 5, 3


@pytest.fixture
async def client(valkey: str) -> AsyncIterator[redis.Redis]:
    async with redis.connect(valkey, timeout_s=5) as one:
        yield one


def replica(budget: int, mode: Mode = Mode.ON) -> tuple[LearnedSync, LearnedEvidence, ExplorationBounds]:
    evidence, bounds = LearnedEvidence(), ExplorationBounds()
    return LearnedSync(evidence, bounds, lambda: Learning(mode, 0.02, budget)), evidence, bounds


@pytest.mark.parametrize("budget", [0, 1, 7, 1003, 10**9])
async def test_replicas_never_spend_more_than_the_days_budget_together(
    client: redis.Redis, budget: int
) -> None:
    replicas = [replica(budget) for _ in range(3)]
    spent = 0
    for _ in range(60):
        for sync, _, bounds in replicas:
            await sync.exchange(client, NOW)
            left = bounds.left_nano_usd(NOW)
            bounds.spend("pro", left)
            spent += left

    assert budget == spent
    # The next day has a budget of its own.
    await replicas[0][0].exchange(client, NOW + 86_400)
    assert (budget > 0) == (replicas[0][2].left_nano_usd(NOW + 86_400) > 0)


async def test_evidence_is_read_as_the_ledger_wrote_it_and_not_at_all_while_learning_is_off(
    client: redis.Redis,
) -> None:
    code = classifier_pb2.CATEGORY_CODE
    message = events_pb2.LearnedEvidence(version=7, acting=[code])
    message.outcomes.add(
        category=code,
        level=1,
        model="small",
        share=0.8,
        weight=12.5,
        liked=16,
        counted=20,
        last_on="2026-11-22",
    )
    await client.set(redis_keys.LEARNED, message.SerializeToString())
    found = []
    for mode in (Mode.OBSERVE, Mode.OFF):
        sync, evidence, bounds = replica(1000, mode)
        await sync.exchange(client, NOW)
        found.append(evidence.evidence)
        assert 0 == bounds.left_nano_usd(NOW)

    assert {("code", 1): {"small": Outcomes(0.8, 12.5, 16, 20, "2026-11-22")}} == found[0].cells
    assert (frozenset({"code"}), {}) == (found[0].acting, found[1].cells)


async def test_what_is_no_evidence_leaves_that_of_before(client: redis.Redis) -> None:
    sync, evidence, bounds = replica(1000)
    before = evidence.evidence
    await client.set(redis_keys.LEARNED, b"\xff\xff")
    refreshing = asyncio.create_task(sync.refresh(client))
    await client.ping()
    for _ in range(3):
        with pytest.raises(DecodeError):
            await sync.exchange(client, NOW)

    assert not refreshing.done()
    assert before is evidence.evidence
    assert 0 == bounds.left_nano_usd(NOW)
    refreshing.cancel()
