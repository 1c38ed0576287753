"""Draws that a seed decides."""

from collections import Counter

import pytest

from services.chassis.draws import fraction, weighted


def test_a_fraction_is_the_same_for_a_seed_and_even_over_all() -> None:
    assert fraction("seed") == fraction("seed") != fraction("other")
    tenths = Counter(int(10 * fraction(str(seed))) for seed in range(10_000))
    assert set(range(10)) == set(tenths)
    assert all(900 < count < 1100 for count in tenths.values())


@pytest.mark.parametrize(
    ("weights", "at", "place"),
    [
        ([1.0, 3.0], 0.24, 0),
        ([1.0, 3.0], 0.25, 1),
        ([0.0, 1.0, 0.0], 0.0, 1),
        ([0.0, 0.0], 0.4, 0),
        ([0.0, 0.0], 0.6, 1),
        ([2.0, 0.0], 0.9999999999999999, 0),
    ],
)
def test_a_place_is_drawn_by_its_weight(weights: list[float], at: float, place: int) -> None:
    assert place == weighted(weights, at)
