"""The attack in its small form."""

from pathlib import Path

import pytest

from tests.attacks import bad_addresses
from tests.simulator import running


@pytest.mark.filterwarnings("ignore::UserWarning:pydantic", "ignore::DeprecationWarning:litellm")
@pytest.mark.parametrize("engine", ["fast", "general"])
async def test_an_address_that_cannot_be_fetched_is_the_callers_mistake(engine: str, tmp_path: Path) -> None:
    async with running() as simulator:
        refused = await bad_addresses.attack(simulator, tmp_path, engine, bad_addresses.SMALL)

    assert 4 * len(bad_addresses.SMALL) == refused
