"""Messages of the contract as JSON."""

from datetime import UTC, datetime

import pytest

from services.gateway.pipeline import render


@pytest.mark.parametrize(
    ("release", "moment"),
    [
        ("2025-08-07", datetime(2025, 8, 7, tzinfo=UTC)),
        ("2024-05", datetime(2024, 5, 1, tzinfo=UTC)),
        ("2023", datetime(2023, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_model_was_created_when_it_came_out(release: str, moment: datetime) -> None:
    assert moment.timestamp() == render.created(release)


@pytest.mark.parametrize("release", ["", "soon", "2025-13-40", "-", "99999"])
def test_a_model_of_unknown_age_was_created_when_it_began_to_be_served(release: str) -> None:
    assert render.STARTED == render.created(release)
