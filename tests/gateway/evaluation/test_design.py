"""The adaptive design finds what the plain one finds, with at most half of the calls."""

import random

import pytest

from services.gateway.evaluation.design import LEAST, MOST_FAILURES, Design, Question, in_order
from services.gateway.evaluation.estimates import Estimate, better

CATEGORIES = [f"category-{n}" for n in range(12)]
MODELS = ["a", "b", "c", "d"]
STRENGTHS = [0.97, 0.7, 0.35, 0.05]
TASKS = {category: [f"{category}-{n}" for n in range(20)] for category in CATEGORIES}


def strengths(seed: int) -> dict[str, dict[str, float]]:
    """Who is how good at what: another order in each category."""
    draw = random.Random(seed)
    return {one: dict(zip(MODELS, draw.sample(STRENGTHS, 4), strict=True)) for one in CATEGORIES}


def solved(seed: int, question: Question, share: float) -> float:
    """Whether a simulated model solves a task: the same whenever it is asked."""
    return float(random.Random(f"{seed}/{question.model}/{question.task}").random() < share)


def run(design: Design, seed: int, *, at_once: int = 1) -> Design:
    """Ask until there is nothing left to ask, several at a time."""
    known = strengths(seed)
    while True:
        asked = [one for one in (design.next() for _ in range(at_once)) if one is not None]
        if not asked:
            return design
        for one in asked:
            design.graded(one, solved(seed, one, known[one.category][one.model]))


def recovered(design: Design, seed: int) -> int:
    """In how many categories the order is the true one."""
    known = strengths(seed)
    return sum(
        sorted(MODELS, key=lambda m: -known[c][m]) == sorted(MODELS, key=lambda m: -found[m].expected)
        for c, found in design.estimates().items()
    )


def test_the_order_of_four_known_models_is_found_in_every_category() -> None:
    # With 20 tasks an order is wrong by chance once in 30, whichever design asks; here none is.
    design = run(Design(TASKS, MODELS), seed=2, at_once=4)

    assert len(CATEGORIES) == recovered(design, 2)
    assert design.calls <= design.plain_calls / 2


def test_half_of_the_calls_are_as_good_as_all() -> None:
    seeds = range(10)
    adaptive = [run(Design(TASKS, MODELS), seed, at_once=4) for seed in seeds]
    plain = [run(Design(TASKS, MODELS, adaptive=False), seed) for seed in seeds]

    assert all(960 == one.calls for one in plain)
    assert all(one.calls <= 480 for one in adaptive)
    found = sum(recovered(one, seed) for one, seed in zip(adaptive, seeds, strict=True))
    assert found >= sum(recovered(one, seed) for one, seed in zip(plain, seeds, strict=True)) - 2
    # Of 120 orders.
    assert found >= 114


def test_clear_orders_need_few_calls() -> None:
    design = Design(TASKS, ["good", "bad"])
    while (question := design.next()) is not None:
        design.graded(question, 1.0 if question.model == "good" else 0.0)

    assert design.calls == LEAST * 2 * len(CATEGORIES)
    assert 0 == design.unsure


def test_nothing_is_asked_twice_and_an_earlier_start_counts() -> None:
    first = Design(TASKS, MODELS)
    asked = [one for one in (first.next() for _ in range(100)) if one is not None]
    for one in asked:
        first.graded(one, solved(7, one, 0.5))

    second = Design(TASKS, MODELS)
    for one in asked:
        second.already(one, solved(7, one, 0.5))
    second.already(Question("stranger", "category-0", "x"), 1.0)
    later = []
    while (question := second.next()) is not None:
        later.append(question)
        second.graded(question, solved(7, question, 0.5))

    assert not set(asked) & set(later)
    assert len(later) == len(set(later))
    assert second.calls == len(asked) + len(later)


def test_a_model_that_only_fails_is_left_out() -> None:
    design = Design(TASKS, ["works", "broken", "fine"])
    failures = 0
    left_out = []
    while (question := design.next()) is not None:
        if question.model == "broken":
            failures += 1
            left_out += [design.failed(question)]
        else:
            design.graded(question, 1.0)

    assert MOST_FAILURES == failures
    assert [False, False, True] == left_out
    assert 0 == sum(found["broken"].n for found in design.estimates().values())


def test_what_is_under_way_is_not_asked_again_for_the_same_reason() -> None:
    design = Design({"one": [f"{n}" for n in range(20)]}, ["a", "b"])
    asked = [design.next() for _ in range(20)]

    assert 20 == len(set(asked))
    assert design.next() is None


def test_levels_alternate() -> None:
    levels = {"a1": 1, "b1": 1, "a2": 2, "b2": 2, "a4": 4}

    assert ["a1", "a2", "a4", "b1", "b2"] == in_order(levels)


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    # Newcombe, "Two-sided confidence intervals for the single proportion", Statistics in Medicine 17 (1998), table I.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilsons_interval_is_the_published_one(right: int, n: int, low: float, high: float) -> None:
    found = Estimate(n, right).interval

    assert pytest.approx((low, high), abs=5e-5) == found


def test_more_answers_make_an_order_surer() -> None:
    few, many = (better(Estimate(n, 0.8 * n), Estimate(n, 0.5 * n)) for n in (5, 50))

    assert 0.5 < few < many < 1.0
    assert pytest.approx(1.0) == better(Estimate(5, 4), Estimate(5, 2)) + better(
        Estimate(5, 2), Estimate(5, 4)
    )
