"""Moderations through both engines, and every operation's format."""

from pathlib import Path

import pytest

from services.chassis.operations import MODES, Operation
from services.executor.attempts.messages import OPERATIONS
from services.executor.formats.factory import response_format
from services.executor.servicer import REQUIRED
from tests.executor.service import deployments, executor
from tests.simulator import Simulator


def test_every_operation_is_known_everywhere() -> None:
    everything = set(Operation)

    assert everything == set(OPERATIONS.values()) == set(MODES) == set(REQUIRED)
    assert all(response_format(operation, "m", {}) for operation in everything)


@pytest.mark.parametrize("engine", ["fast", "general"])
async def test_moderations_pass_through_both_engines(
    engine: str, simulator: Simulator, valkey: str, tmp_path: Path
) -> None:
    config = deployments(simulator.url, [("openai", "openai/judge")])
    async with executor(tmp_path, config, valkey, engine=engine) as caller:
        outcome = await caller.ask("openai", operation="moderations", input=["kill", "hello"])

    assert outcome.fault is None
    assert 2 == len(outcome.answer["results"])
    assert "public-openai" == outcome.answer["model"]
