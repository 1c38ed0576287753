"""A large batch beside other calls."""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest
from lumni.selector.v1 import selector_pb2 as pb

from services.selector import servicer as servicers
from services.selector.configuration import Configuration
from services.selector.live.exploration_bounds import ExplorationBounds
from services.selector.live.health import Health
from services.selector.live.learned_evidence import LearnedEvidence
from services.selector.live.powerful_share import PowerfulShares
from services.selector.live.recent_usage import RecentUsage
from services.selector.outcome_learning import OutcomeLearning
from services.selector.servicer import SelectorServicer
from tests.fuzz import served


async def test_a_large_batch_leaves_turns_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servicers, "TURN_S", 0.0)
    served.configure(tmp_path, "http://127.0.0.1:9")
    servicer = SelectorServicer(
        Configuration(tmp_path),
        Health(),
        PowerfulShares(),
        RecentUsage(3600, spreads=True),
        OutcomeLearning(LearnedEvidence(), ExplorationBounds()),
    )
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    taking = asyncio.create_task(others())
    response = await servicer.BatchSelect(
        pb.BatchSelectRequest(requests=[pb.SelectRequest(model="small")] * 100), None
    )
    taking.cancel()
    with suppress(asyncio.CancelledError):
        await taking

    assert 100 == len(response.results)
    assert turns >= 99
