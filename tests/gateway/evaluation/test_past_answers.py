"""Answers that users got, as a judge reads and grades them."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from services.gateway.evaluation import past_answers
from services.gateway.evaluation.caller import Answer, Caller, Model
from services.gateway.evaluation.past_answers import BudgetError
from services.gateway.evaluation.spending import Prices, Spending
from services.gateway.evaluation.tasks import Task

ASKED = {"messages": [{"role": "user", "content": "How high is K2?", "name": "ann"}]}
ANSWERED = {"choices": [{"message": {"role": "assistant", "content": "8,611 m"}}]}
STREAMED = {"chunks": 3, "texts": {"0.content": "8,611 m"}}
JUDGE = Model("judge", Prices(10**9, 10**9))


class Judge(Caller):
    """Says what it is told to say, for a thousandth of a dollar."""

    def __init__(self, *said: str) -> None:
        super().__init__("http://127.0.0.1:9", "")
        self._said: Iterator[str] = iter(said)

    async def ask(self, model: str, messages: Sequence[dict[str, str]], answer_tokens: int) -> Answer:
        return Answer(next(self._said), 10**6, model, f"{model}-1", "stop", 1.0)


@pytest.mark.parametrize("response", [ANSWERED, STREAMED])
def test_a_chat_is_read_whole_or_as_a_stream(response: dict[str, Any]) -> None:
    found = past_answers.read({"request": ASKED, "response": response, "cut": []})

    assert found is not None
    assert ("How high is K2?", "8,611 m") == (found[0].messages[0].content, found[1])


@pytest.mark.parametrize(
    "texts",
    [
        None,
        {"request": ASKED, "response": ANSWERED, "cut": ["response"]},
        {"request": {"input": "K2"}, "response": ANSWERED, "cut": []},
        {"request": {"messages": [{"role": "tool", "content": "8611"}]}, "response": ANSWERED, "cut": []},
        {"request": {"messages": [{"role": "user", "content": [{}]}]}, "response": ANSWERED, "cut": []},
        {
            "request": {"messages": [{"role": "assistant", "content": "So.", "tool_calls": [{}]}]},
            "response": ANSWERED,
            "cut": [],
        },
        {"request": ASKED, "response": {"choices": []}, "cut": []},
        {"request": ASKED, "response": {"chunks": 1, "texts": {}}, "cut": []},
        {"request": None, "response": None, "cut": []},
    ],
)
def test_what_a_judge_cannot_read_is_left_out(texts: dict[str, Any] | None) -> None:
    assert past_answers.read(texts) is None


async def test_a_grade_is_the_mean_of_both_orders_and_is_paid_for() -> None:
    task, spending = Task.model_validate({"messages": ASKED_PLAIN}), Spending(10**10)

    assert 0.75 == await past_answers.graded(
        Judge("Grade: 5", "Fine. Grade: 3"), JUDGE, spending, task, "8,611 m"
    )
    assert (2 * 10**6, 10**10 - 2 * 10**6) == (spending.spent, spending.left)


async def test_without_both_grades_there_is_none_and_without_money_nothing_is_asked() -> None:
    task = Task.model_validate({"messages": ASKED_PLAIN})

    assert (
        await past_answers.graded(Judge("Grade: 5", "No."), JUDGE, Spending(10**10), task, "8,611 m") is None
    )
    with pytest.raises(BudgetError):
        await past_answers.graded(Judge(), JUDGE, Spending(1000), task, "8,611 m")


ASKED_PLAIN = [{"role": "user", "content": "How high is K2?"}]
