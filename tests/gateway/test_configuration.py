"""Configuration files that change while the gateway serves."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from services.gateway.configuration import Configuration, version_of
from tests.gateway.conftest import eventually

FLEET = """
model_list:
  - model_name: small
    litellm_params: {{model: openai/gpt-4o-mini, api_base: "http://127.0.0.1:1/v1", api_key: x}}
    model_info: {{input_cost_per_token: {cost}, output_cost_per_token: 0.0}}
"""
PLANS = """
plans:
  free: {{access_groups: [standard], rpm: {rpm}}}
default_plan: free
"""


class Files:
    """The two files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write()

    def write(self, *, rpm: int | str = 10, cost: float = 0.001) -> None:
        # The one with the mistake first: they may be read between the two.
        (self.folder / "lumni.yaml").write_text(PLANS.format(rpm=rpm))
        (self.folder / "litellm_config.yaml").write_text(FLEET.format(cost=cost))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
async def configuration(files: Files) -> AsyncIterator[Configuration]:
    one = Configuration(files.folder)
    task = asyncio.create_task(one.watch(0.01))
    yield one
    task.cancel()


def mistakes() -> float:
    name = "lumni_gateway_configuration_reloads_total"
    return REGISTRY.get_sample_value(name, {"outcome": "mistake"}) or 0.0


def is_true(condition: Callable[[], bool]) -> Callable[[], Awaitable[bool]]:
    async def met() -> bool:
        return condition()

    return met


async def test_what_changed_is_in_force_and_told_and_the_rest_stays_as_it_is(
    files: Files, configuration: Configuration
) -> None:
    fleet, version = configuration.fleet.current, configuration.version.current
    told: list[object] = []
    configuration.plans.on_change(lambda plans: told.append(plans.default.rate.rpm))
    configuration.fleet.on_change(lambda _: told.append("fleet"))
    files.write(rpm=20)

    await eventually(is_true(lambda: configuration.plans.current.default.rate.rpm == 20))
    await eventually(is_true(lambda: told == [20]))
    assert fleet == configuration.fleet.current
    assert version != configuration.version.current == version_of(files.folder)


async def test_a_file_with_a_mistake_changes_nothing_and_says_why(
    files: Files, configuration: Configuration, caplog: pytest.LogCaptureFixture
) -> None:
    before = configuration.plans.current, configuration.fleet.current
    version = configuration.version.current
    known = mistakes()
    with caplog.at_level(logging.ERROR):
        # The fleet is right, and is not taken without the plans that were written with it.
        files.write(rpm="many", cost=0.002)
        await eventually(is_true(lambda: mistakes() > known))
    assert before == (configuration.plans.current, configuration.fleet.current)
    assert "the changed configuration is not used" in caplog.text
    assert "rpm" in caplog.text
    assert version == configuration.version.current

    files.write(rpm=30, cost=0.002)
    await eventually(is_true(lambda: configuration.plans.current.default.rate.rpm == 30))
    assert before[1] != configuration.fleet.current
