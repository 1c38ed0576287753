"""No tool and no state of a provider's escapes a budget, over REST and gRPC."""

import pytest

from tests.attacks import hosted_tools
from tests.flow.stack import Stack
from tests.simulator import Simulator

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_small_budget_cannot_be_overspent_with_hosted_tools(
    stack: Stack, provider: Simulator
) -> None:
    refused = await hosted_tools.attack(stack, provider, hosted_tools.SMALL)

    assert 3 * len(hosted_tools.SMALL) == refused
