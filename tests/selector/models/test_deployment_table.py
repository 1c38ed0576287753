"""What is computed for all deployments at once is what each would say by itself."""

from dataclasses import replace

import pytest

from services.selector.models.deployment_table import DeploymentTable
from services.selector.models.options import Options
from tests.selector.fleets import catalog, deployment, fleet, price


@pytest.mark.parametrize("prompt_tokens", [0, 1_000, 100_000])
def test_the_bounds_hold_the_fee_of_a_model_that_searches_unasked(prompt_tokens: int) -> None:
    searching = deployment("searching", price=replace(price(1.0, 4.0), per_request=12_000_000))
    plain = deployment("plain")
    table = DeploymentTable(fleet([searching, plain]), catalog({}), Options())

    bounds = table.bounds(prompt_tokens, 500, 1)

    assert [one.price.bound(prompt_tokens, 500) for one in (searching, plain)] == list(bounds)
