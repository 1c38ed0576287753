"""Answers that users got, graded by a judge: learnt from beside what users say (docs/learning.md)."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from services.gateway.evaluation import judge
from services.gateway.evaluation.caller import Caller, Model, RequestRefusedError
from services.gateway.evaluation.grader import judge_tokens
from services.gateway.evaluation.spending import Spending
from services.gateway.evaluation.tasks import Task, conversation


class BudgetError(Exception):
    """What is left does not cover two more grades."""


def read(texts: Mapping[str, Any] | None) -> tuple[Task, str] | None:
    """The conversation and the answer of a chat of which texts are kept; None for what a judge cannot read.

    That is what was cut, has pictures or calls of tools, or is no chat.
    """
    if not texts or texts.get("cut"):
        return None
    request, response = texts.get("request"), texts.get("response")
    if not isinstance(request, dict) or not isinstance(response, dict):
        return None
    try:
        answer = (
            response["texts"]["0.content"]
            if "texts" in response
            else response["choices"][0]["message"]["content"]
        )
        task = Task.model_validate({"id": "past", "messages": conversation(request)})
    except (KeyError, IndexError, TypeError, ValidationError):
        return None
    return (task, answer) if isinstance(answer, str) and answer else None


async def graded(caller: Caller, by: Model, spending: Spending, task: Task, answer: str) -> float | None:
    """How good an answer is by two grades with what is read in both orders, 0 to 1.

    None where a grade is missing, or the judge refuses to read this.

    Raises:
        BudgetError: it could cost more than what is left.
        CallError: the judge answers nothing.
    """
    orders = [judge.messages(task, "", answer, answer_first=first) for first in (False, True)]
    bound = sum(
        by.prices.bound(len(json.dumps(one, ensure_ascii=False).encode()), judge_tokens(by)) for one in orders
    )
    if not spending.hold(bound):
        raise BudgetError
    grades: list[int] = []
    try:
        for messages in orders:
            said = await caller.ask(by.name, messages, judge_tokens(by))
            spending.spend(said.nano_usd)
            found = judge.grade(said.text)
            if found is not None:
                grades.append(found)
    except RequestRefusedError:
        return None
    finally:
        spending.release(bound)
    return judge.share(grades) if len(grades) == len(orders) else None
