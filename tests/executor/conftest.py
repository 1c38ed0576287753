"""Engines over the simulator, and a whole executor on a real socket."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from services.executor.engines.direct import DirectEngine
from services.executor.engines.litellm_sdk import LiteLLMEngine
from services.executor.engines.prepare import Preparer
from services.executor.engines.proxies import Proxies
from tests.simulator import Simulator, running

# LiteLLM's models, not ours, make pydantic complain; and its dependencies of each other.
LITELLM_WARNS = (
    "ignore::UserWarning:pydantic",
    "ignore::DeprecationWarning:litellm",
    "ignore:Pydantic serializer:UserWarning",
)
KEY = "sk-provider-canary-0123456789"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_simulator() -> AsyncIterator[Simulator]:
    """One simulator for all tests; it runs on the session's loop."""
    async with running() as simulator:
        yield simulator


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """A simulator of one's own."""
    async with running() as simulator:
        yield simulator


@pytest.fixture
async def preparer() -> AsyncIterator[Preparer]:
    """What both engines prepare calls with."""
    preparer = Preparer({"SIM_KEY": KEY})
    yield preparer
    await preparer.aclose()


@pytest.fixture
async def litellm_engine(preparer: Preparer) -> AsyncIterator[LiteLLMEngine]:
    """The engine `general`."""
    engine = LiteLLMEngine(Proxies(), preparer)
    yield engine
    await engine.aclose()


@pytest.fixture
async def direct_engine(preparer: Preparer, litellm_engine: LiteLLMEngine) -> AsyncIterator[DirectEngine]:
    """The engine `fast`."""
    engine = DirectEngine(Proxies(), preparer, litellm_engine)
    yield engine
    await engine.aclose()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Excuse LiteLLM, and only it, from the rule that warnings are errors."""
    for item in items:
        if "tests/executor" in item.nodeid:
            for rule in LITELLM_WARNS:
                item.add_marker(pytest.mark.filterwarnings(rule))
