import numpy as np
import pytest

from services.classifier.training.holdout import held_out
from services.classifier.training.metrics import bootstrap, calibration_error, recovered, routing

WEAK = np.array([1.0, 1.0, 0.0, 0.0])
STRONG = np.array([1.0, 1.0, 1.0, 1.0])


def test_a_ranking_by_gain_recovers_the_gap_with_half_of_the_calls() -> None:
    found = routing(np.array([0.0, 0.1, 0.8, 0.9]), WEAK, STRONG)

    assert found.cpt50 == pytest.approx(0.25)
    assert found.cpt80 == pytest.approx(0.4)
    assert found.apgr == pytest.approx(0.75)


def test_equal_scores_are_worth_as_much_as_chance() -> None:
    assert routing(np.zeros(4), WEAK, STRONG).apgr == pytest.approx(0.5)


def test_the_wrong_way_round_is_worse_than_chance() -> None:
    assert routing(np.array([0.9, 0.8, 0.1, 0.0]), WEAK, STRONG).apgr == pytest.approx(0.25)


def test_the_curve_begins_at_nothing_and_ends_at_everything() -> None:
    curve = recovered(np.array([3.0, 1.0, 2.0, 2.0]), WEAK, STRONG)

    assert curve[0] == 0.0
    assert curve[-1] == pytest.approx(1.0)
    assert curve[2] - curve[1] == pytest.approx(curve[3] - curve[2])


def test_an_interval_holds_the_mean() -> None:
    values = np.random.default_rng(0).normal(size=400)
    low, high = bootstrap(lambda draw: float(values[draw].mean()), 400, 0)

    assert low < values.mean() < high


def test_calibration_error_is_the_distance_of_rates() -> None:
    outcomes = np.array([0.0, 1.0] * 50)

    assert calibration_error(np.full(100, 0.5), outcomes) == pytest.approx(0.0)
    assert calibration_error(np.full(100, 0.8), outcomes) == pytest.approx(0.3)


def test_one_prompt_in_five_is_held_out_however_it_is_printed() -> None:
    share = sum(held_out(f"prompt {number}") for number in range(5000)) / 5000

    assert 0.17 < share < 0.23
    for number in range(50):
        assert held_out(f"What is item {number}?") == held_out(f" what is  Item {number}\nA. one\nB. two\n")
