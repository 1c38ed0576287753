"""A simulator for each test."""

from collections.abc import AsyncIterator

import pytest

from tests.simulator import Simulator, running


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with running() as simulator:
        yield simulator
