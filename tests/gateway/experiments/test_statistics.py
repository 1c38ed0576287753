"""Confidence sequences: properties of every interval, and how often the truth leaves one."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.gateway.experiments import statistics
from services.gateway.experiments.statistics import LEAST_REQUESTS, LEAST_UNITS, Moments
from tests.gateway.experiments.simulated import Sums

UNITS = st.lists(
    st.lists(st.floats(0, 1000, width=32), min_size=4, max_size=8), min_size=LEAST_UNITS, max_size=60
)
ALPHA = 0.05


@settings(max_examples=30)
@given(UNITS)
def test_sums_that_are_kept_up_to_date_are_those_of_the_whole(units: list[list[float]]) -> None:
    sums = Sums()
    for unit, values in enumerate(units):
        for value in values:
            sums.add(unit, value)

    for one, other in zip(vars_of(sums.moments()), vars_of(statistics.moments(units)), strict=True):
        assert one == pytest.approx(other, rel=1e-9, abs=1e-6)


@settings(max_examples=30)
@given(UNITS, st.floats(0.001, 0.5))
def test_an_interval_is_around_the_mean_and_narrower_where_less_is_promised(
    units: list[list[float]], alpha: float
) -> None:
    one = statistics.moments(units)
    sure, unsure = statistics.of_mean(one, alpha / 2), statistics.of_mean(one, alpha)

    assert sure is not None
    assert unsure is not None
    assert sure.low <= unsure.low <= one.mean <= unsure.high <= sure.high


@settings(max_examples=30)
@given(UNITS, UNITS)
def test_a_difference_turns_its_sign_with_its_sides(one: list[list[float]], other: list[list[float]]) -> None:
    left, right = statistics.moments(one), statistics.moments(other)
    there = statistics.of_difference(left, right, ALPHA)
    back = statistics.of_difference(right, left, ALPHA)

    assert there is not None
    assert back is not None
    assert there.low == pytest.approx(-back.high, rel=1e-6, abs=1e-6)
    assert there.high == pytest.approx(-back.low, rel=1e-6, abs=1e-6)


@settings(max_examples=30)
@given(UNITS)
def test_the_same_requests_of_fewer_units_say_less(units: list[list[float]]) -> None:
    alone = statistics.moments([value] for values in units for value in values)
    # As if each value had been seen from a user twice over: no more is known of users.
    twice = statistics.moments([value, value] for values in units for value in values)

    assert twice.mean_variance() == pytest.approx(alone.mean_variance(), rel=1e-6, abs=1e-9)
    assert twice.requests == 2 * alone.requests


@pytest.mark.parametrize(
    ("requests", "units"), [(LEAST_REQUESTS - 1, LEAST_UNITS), (LEAST_REQUESTS, LEAST_UNITS - 1), (0, 0)]
)
def test_before_enough_is_known_there_is_no_interval(requests: int, units: int) -> None:
    few, many = Moments(units, requests), Moments(units=1000, requests=1000)

    assert statistics.of_mean(few, ALPHA) is None
    assert statistics.of_difference(few, many, ALPHA) is None
    assert statistics.of_difference(many, few, ALPHA) is None


def test_what_never_happened_is_not_taken_for_impossible() -> None:
    never = statistics.moments([[0.0]] * 100)
    interval = statistics.of_mean(never, ALPHA, span=1.0)

    assert interval is not None
    assert 0.01 < interval.high < 0.2


@pytest.mark.parametrize("per_user", [1, 20])
def test_the_truth_is_inside_at_every_look(per_user: int) -> None:
    """Few users who write much are no more certain than as many who write little, and no less honest."""
    left_out = 0
    for seed in range(100):
        draw, sums = random.Random(seed), Sums()
        users = [draw.gauss(10, 2) for _ in range(2000 // per_user)]
        for number in range(1, 2001):
            user = draw.randrange(len(users))
            sums.add(user, draw.gauss(users[user], 5))
            if number % 20 == 0:
                interval = statistics.of_mean(sums.moments(), ALPHA)
                if interval is not None and not interval.low <= 10 <= interval.high:
                    left_out += 1
                    break

    assert left_out <= 5


def vars_of(one: Moments) -> list[float]:
    return [getattr(one, name) for name in Moments.__slots__]
