"""What becomes of one request."""

from dataclasses import replace
from datetime import date

import pytest

from services.chassis.prices import UNPRICED, Price, Row, rates_of
from services.gateway.ledger.rows import Kind
from services.gateway.replays import request
from services.gateway.replays.answer_lengths import LEAST, UNKNOWN_DEVIATION, AnswerLengths
from services.gateway.replays.request import Attempt, Candidate, Choice, Excluded, Outcome, Request, Tokens


def price(nano_in: int, nano_out: int) -> Price:
    """A price in nano-USD a token."""
    return Price((Row("", 0, rates_of({"input": nano_in * 10**6, "output": nano_out * 10**6})),))


PRICES = {"a": price(1, 2), "b": price(10, 20), "c": price(100, 200), "free": UNPRICED}
# The answers of b are twice as long as those of a.
LENGTHS = AnswerLengths([("model-a", "code", 10), ("model-b", "code", 20)] * LEAST)
TOKENS = Tokens(prompt_tokens=100, completion_tokens=50)


def attempt(
    deployment: str, kind: Kind = Kind.FINAL, cost: int | None = 200, *, bound: bool = False
) -> Attempt:
    tokens = TOKENS if kind is not Kind.FAILED else Tokens()
    return Attempt(deployment, f"model-{deployment}", kind, cost, tokens, bound or kind is Kind.UNKNOWN)


def past(*attempts: Attempt) -> Request:
    return Request(
        request_id="r",
        day=date(2026, 11, 22),
        plan="team",
        category="code",
        powerful=False,
        attempts=attempts,
        candidates=("a", "b", "c"),
        price_ids=tuple(PRICES[one].ident for one in ("a", "b", "c")),
        qualities=(0.5, 0.7, 0.9),
    )


def choice(*deployments: str, on_cause: str = "") -> Choice:
    listed = tuple(Candidate(one, f"model-{one}", 0.6, always=one != on_cause) for one in deployments)
    return Choice(powerful=False, candidates=listed)


def outcome(of: Request, chosen: Choice) -> Outcome:
    found = request.of(of, chosen, PRICES, LENGTHS)
    assert isinstance(found, Outcome)
    return found


def test_the_answer_of_then_costs_what_it_cost_though_its_tokens_would_say_something_else() -> None:
    found = outcome(past(attempt("a", cost=777)), choice("a", "b"))

    assert (777, 777, 0, False) == (found.then, found.now, found.estimated, found.moved)


def test_at_another_price_the_tokens_of_then_are_priced_anew() -> None:
    was = replace(past(attempt("a", cost=777)), price_ids=(1, 2, 3))

    assert 100 * 1 + 50 * 2 == outcome(was, choice("a")).now


def test_what_failed_then_fails_now_and_what_was_passed_over_is_passed_over() -> None:
    fell_back = past(attempt("a", Kind.FAILED, 0), attempt("c", cost=900))

    # b was passed over: its breaker was open, or nothing of its quota was left.
    found = outcome(fell_back, choice("b", "a", "c"))

    assert ("model-c", 900, 900) == (found.model, found.then, found.now)


def test_another_model_answers_at_its_price_with_answers_as_long_as_its_own() -> None:
    found = outcome(past(attempt("a")), choice("b", "a"))

    assert (100 * 10 + 2 * 50 * 20, 2 * 50 * 20) == (found.now, found.estimated)
    assert ("model-b", "model-a", "code") == found.pair
    assert (0.5, 0.6) == found.quality


def test_no_estimated_answer_is_longer_than_the_request_permits() -> None:
    capped = replace(past(attempt("a")), most_tokens=60)

    assert 100 * 10 + 60 * 20 == outcome(capped, choice("b")).now


def test_what_may_be_tried_on_a_cause_alone_answers_only_if_it_did_then() -> None:
    assert (
        "model-b"
        == outcome(past(attempt("a", Kind.FAILED, 0), attempt("b")), choice("a", "b", on_cause="b")).model
    )
    assert "model-c" == outcome(past(attempt("a")), choice("b", "c", on_cause="b")).model


@pytest.mark.parametrize(
    ("was", "chosen", "reason"),
    [
        (past(attempt("a", cost=None)), choice("a"), Excluded.UNPRICED_THEN),
        (past(attempt("a")), choice("free"), Excluded.UNPRICED_NOW),
        (past(attempt("free")), choice("free"), Excluded.UNPRICED_NOW),
        (past(attempt("a", Kind.FAILED, 0)), choice("b"), Excluded.NO_ANSWER),
        (past(attempt("a", Kind.UNKNOWN, 5)), choice("b"), Excluded.NO_ANSWER),
        (replace(past(attempt("a", Kind.UNKNOWN, 5)), price_ids=(1, 2, 3)), choice("a"), Excluded.NO_END),
        (past(attempt("a", Kind.PARTIAL, 5, bound=True)), choice("b"), Excluded.NO_ANSWER),
        (past(attempt("a", bound=True)), choice("b"), Excluded.NO_ANSWER),
        (replace(past(attempt("a", bound=True)), price_ids=(1, 2, 3)), choice("a"), Excluded.NO_END),
        (past(attempt("a"), attempt("a", Kind.FAILED, 0)), choice(), Excluded.NO_ANSWER),
    ],
)
def test_what_is_not_known_is_in_no_sum(was: Request, chosen: Choice, reason: Excluded) -> None:
    assert reason is request.of(was, chosen, PRICES, LENGTHS)


def test_a_cut_answer_and_one_whose_end_got_lost_keep_their_bounds() -> None:
    for kind in (Kind.PARTIAL, Kind.UNKNOWN):
        assert 5 == outcome(past(attempt("a", kind, 5)), choice("a")).now


def test_only_attempts_before_the_answer_of_now_are_made_again() -> None:
    """A stream of a that was cut cost 50, and b answered after it."""
    fell_back = past(attempt("a", Kind.PARTIAL, 50), attempt("b", cost=900))
    cost_of_c = 100 * 100 + 50 * 200

    # The lengths of answers of c are not known.
    assert cost_of_c == outcome(fell_back, choice("c", "a", "b")).now
    assert 50 + cost_of_c == outcome(fell_back, choice("a", "c", "b")).now
    assert 900 == outcome(fell_back, choice("b", "a")).now
    assert 950 == outcome(fell_back, choice("a", "b")).now


def test_lengths_fall_back_on_all_categories_and_then_on_no_difference() -> None:
    answers = [("one", "math", 30), ("one", "math", 50), ("two", "code", 10)] * LEAST
    lengths = AnswerLengths(answers)

    assert 4.0 == lengths.ratio("one", "two", "code")
    assert (1.0, UNKNOWN_DEVIATION) == (
        lengths.ratio("one", "new", "code"),
        lengths.deviation("one", "new", "code"),
    )
    # Of 40 answers of 30 and 50 tokens the mean is 40, and its standard error 10 over the root of 40.
    assert 10 / 40 / 39**0.5 == pytest.approx(lengths.deviation("one", "two", "code"))
    assert 0.0 == lengths.deviation("one", "one", "math")
