"""What outcomes of a day say, and what they say of the two policies."""

import random
from datetime import date, timedelta

import pytest

from services.gateway.learning import comparison, evidence
from services.gateway.learning.sums import Choice, Outcome, summed

TODAY = date(2026, 11, 22)


def outcome(
    *, unit: str = "ann", good: bool = True, weight: float = 1.0, chosen: str = "a", learned: str = "b"
) -> Outcome:
    def choice(model: str, probability: float) -> Choice:
        return Choice(model, probability, 0.5)

    return Outcome(
        unit,
        "code",
        0,
        choice(chosen, 0.9 if chosen == "a" else 0.1),
        choice("a", 0.9),
        choice(learned, 0.1),
        good,
        weight,
    )


def test_many_outcomes_of_one_user_on_one_day_count_as_the_square_root_of_their_number() -> None:
    days, _ = summed(TODAY, [outcome() for _ in range(100)] + [outcome(unit="bob", good=False)])

    assert (100, 101) == (days[0].liked, days[0].counted)
    assert [10.0, 11.0] == pytest.approx([days[0].good, days[0].weight])


def test_old_outcomes_count_less_and_very_old_ones_nothing() -> None:
    days = [
        evidence.Day(TODAY - timedelta(days=age), "code", 0, "a", liked, 10, float(liked), 10.0)
        for age, liked in ((0, 0), (14, 10), (60, 10))
    ]
    found = evidence.outcomes(days, TODAY)

    assert [(10, 20, TODAY)] == [(one.liked, one.counted, one.last_on) for one in found]
    assert [5 / 15, 15.0] == pytest.approx([found[0].share, found[0].weight])


def test_outcomes_tell_the_policies_apart_only_where_either_might_have_chosen() -> None:
    same = [outcome(learned="a"), outcome(learned="a")]

    assert summed(TODAY, same)[1] == []
    assert 1 == summed(TODAY, [outcome()])[1][0].counted


def week(chance: random.Random, current: float, learned: float, count: int) -> comparison.Estimate:
    """The estimate from a week in which 90 % of the requests went to one model, and 10 % to the other."""
    compared = []
    for day in range(7):
        outcomes = []
        for _ in range(count // 7):
            chosen, share = ("a", current) if chance.random() < 0.9 else ("b", learned)
            unit, good = str(chance.randrange(400)), chance.random() < share
            outcomes.append(outcome(unit=unit, good=good, chosen=chosen))
        compared += summed(TODAY - timedelta(days=day), outcomes)[1]
    return comparison.estimates(compared, TODAY)[0]


def test_the_estimate_is_right_on_average_and_its_interval_as_often_as_it_says() -> None:
    # What was expected of both models, a half, is wrong for either.
    found = [week(random.Random(seed), 0.6, 0.75, 1400) for seed in range(150)]
    means = [one.mean for one in found]

    assert sum(means) / len(means) == pytest.approx(0.15, abs=0.02)
    assert 0.7 < sum(one.low <= 0.15 <= one.high for one in found) / len(found) < 0.9


def test_worse_evidence_seldom_acts_and_better_evidence_does() -> None:
    worse = [week(random.Random(seed), 0.75, 0.6, 2800).acts for seed in range(60)]
    better = [week(random.Random(seed), 0.6, 0.75, 2800).acts for seed in range(60)]

    assert sum(worse) <= 3
    assert sum(better) >= 54


def test_a_few_outcomes_do_not_suffice() -> None:
    assert not week(random.Random(1), 0.1, 0.9, 70).acts
