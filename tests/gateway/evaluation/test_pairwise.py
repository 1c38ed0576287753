"""Two answers beside each other: what a judge reads, and what both of its verdicts are worth."""

import pytest

from services.gateway.evaluation import pairwise
from services.gateway.evaluation.pairwise import Verdict
from services.gateway.evaluation.tasks import Task

TASK = Task.model_validate(
    {"messages": [{"role": "user", "content": "Greet."}], "reference": "Good day.", "category": "chat"}
)


@pytest.mark.parametrize("first", [True, False])
def test_answers_change_places_and_nothing_else(first: bool) -> None:
    system, user = pairwise.messages(TASK, "It is short.", "Hi.", "", answer_first=first)

    mark = user["content"].split("\n")[1]
    assert system["content"].count(mark) == 1
    parts = dict(one.split(f":\n{mark}\n") for one in user["content"].split(f"\n{mark}\n\n"))
    places = ("Hi.", "(empty)") if first else ("(empty)", "Hi.")
    assert {
        "The task": "[user]\nGreet.",
        "What a good answer has": "It is short.",
        "A good answer": "Good day.",
        "Answer 1": places[0],
        "Answer 2": f"{places[1]}\n{mark}",
    } == parts


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("One is polite.\nBetter: 1", Verdict.BETTER),
        ("**Better: 2**", Verdict.WORSE),
        ("Better: neither.", Verdict.EVEN),
        ("Better: Answer 1", Verdict.BETTER),
        ("**Better:** **Answer 2**.", Verdict.WORSE),
        ("Better: Answer 12", None),
        ("Better: answers", None),
        ("Better: 1\nbut", None),
        ("Better: 12", None),
        ("", None),
    ],
)
def test_a_verdict_is_the_last_line(said: str, found: Verdict | None) -> None:
    assert found == pairwise.verdict(said, answer_first=True)
    assert (None if found is None else -found) == pairwise.verdict(said, answer_first=False)


@pytest.mark.parametrize(
    ("verdicts", "share"),
    [([1, 1], 1.0), ([-1, -1], 0.0), ([0, 0], 0.5), ([1, -1], 0.5), ([1, 0], 0.5), ([0, -1], 0.5)],
)
def test_only_what_is_said_twice_counts(verdicts: list[int], share: float) -> None:
    assert share == pairwise.share(verdicts)
