"""Sums of outcomes, and what their intervals hold."""

import random
from dataclasses import replace
from datetime import date

from services.gateway.ledger.rows import Kind
from services.gateway.replays import comparison
from services.gateway.replays.answer_lengths import AnswerLengths
from services.gateway.replays.request import Attempt, Excluded, Outcome, Request, Tokens

RUNS = 300
REQUESTS = 200


def outcome(
    then: int, now: int, *, quality: tuple[float, float] | None = None, category: str = "code"
) -> Outcome:
    last = Attempt("a", "small", Kind.FINAL, then, Tokens(10, 10))
    was = Request("r", date(2026, 11, 22), "team", category, powerful=False, attempts=(last,))
    moved = now != then
    return Outcome(was, "large" if moved else "small", powerful=moved, then=then, now=now, quality=quality)


def test_sums_are_exact_and_the_sentence_says_what_they_are() -> None:
    outcomes = [
        outcome(10**9, 10**9, quality=(0.8, 0.8)),
        outcome(3, 10**9 + 4, quality=(0.5, 0.7)),
        outcome(7, 2, quality=(0.9, 0.4), category="math"),
    ]
    shown = comparison.compared(outcomes, {Excluded.NO_ATTEMPT: 2}, AnswerLengths([])).shown()

    total = shown["total"]
    assert (10**9 + 10, 2 * 10**9 + 6) == (total["then_nano_usd"], total["now_nano_usd"])
    assert (3, 2, 0.6667) == (
        total["requests"],
        total["answered_by_another_model"],
        total["powerful_share_now"],
    )
    assert {"small": 0.3333, "large": 0.6667} == total["models_now"]
    assert [("code", 2), ("math", 1)] == [
        (one["category"], one["requests"]) for one in shown["by"]["category"]
    ]
    assert ["math"] == shown["quality_falls_in"]
    assert [{"reason": str(Excluded.NO_ATTEMPT), "requests": 2}] == shown["not_replayed"]
    for part in ("1.000000 USD (100.0%) more", "66.7%", "falls in math", "2 more requests"):
        assert part in shown["sentence"]


def test_without_any_difference_the_interval_has_no_width() -> None:
    found = comparison.compared([outcome(5, 5)] * 9, {}, AnswerLengths([]))

    assert 0.0 == found.total.margin(found.lengths)
    assert "No request" in comparison.compared([], {}, AnswerLengths([])).shown()["sentence"]


def test_the_interval_holds_the_real_cost_in_about_95_of_100_cases() -> None:
    """Lengths of answers are learnt from other requests, and what is estimated is then really answered."""
    chance = random.Random(3)

    def answer(mean: float) -> int:
        return round(mean * chance.lognormvariate(0, 0.6))

    held = 0
    for _ in range(RUNS):
        lengths = AnswerLengths(
            [("small", "code", answer(80)) for _ in range(300)]
            + [("large", "code", answer(200)) for _ in range(200)]
        )
        pair = ("large", "small", "code")
        outcomes, really = [], 0
        for _ in range(REQUESTS):
            was, would_be = answer(80), answer(200)
            estimated = round(was * lengths.ratio(*pair)) * 10
            base = outcome(was, estimated)
            outcomes.append(replace(base, estimated=estimated, pair=pair))
            really += would_be * 10 - was
        found = comparison.compared(outcomes, {}, lengths)
        held += abs(found.total.now - found.total.then - really) <= found.total.margin(lengths)

    assert held >= 0.94 * RUNS
