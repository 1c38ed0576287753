"""Moderations through both engines, and every operation's format."""

from pathlib import Path

import pytest

from services.chassis.json_bounds import MAX_VALUES
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


async def test_texts_in_the_numbers_of_their_tokens_may_be_more_values_than_other_bodies_hold(
    simulator: Simulator, valkey: str, tmp_path: Path
) -> None:
    config = deployments(simulator.url, [("openai", "openai/vectors")])
    given = [[7] * 1000] * (MAX_VALUES // 1000 + 1)
    async with executor(tmp_path, config, valkey) as caller:
        embedded = await caller.ask("openai", operation="embeddings", input=given)
        judged = await caller.ask("openai", operation="moderations", input=given)

    assert (None, len(given)) == (embedded.fault, len(embedded.answer["data"]))
    assert judged.fault is not None
    assert "JSON_TOO_MANY_VALUES" == judged.fault.reason
