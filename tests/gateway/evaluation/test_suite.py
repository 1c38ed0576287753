"""Every task of the packaged suite takes a right answer and refuses one that only looks right."""

from collections import Counter

import pytest

from services.gateway.evaluation import checks
from services.gateway.evaluation.answers import run_code
from services.gateway.evaluation.tasks import CATEGORIES, load

TASKS = load()


def test_every_category_has_twenty_tasks_five_of_each_level() -> None:
    assert {(category, level): 5 for category in CATEGORIES for level in (1, 2, 3, 4)} == Counter(
        (task.category, task.level) for task in TASKS
    )


@pytest.mark.parametrize("category", CATEGORIES)
def test_references_pass_and_wrong_answers_fail(category: str) -> None:
    for task in TASKS:
        if task.category == category:
            assert task.check is not None, task.id
            assert "" == checks.fault(task.check, task.reference, run_code), task.id
            # What only a judge can tell is not told here.
            if not checks.criteria(task.check):
                assert checks.fault(task.check, task.wrong, run_code), task.id


def test_few_tasks_need_a_judge_and_none_repeats_another() -> None:
    judged = Counter(task.category for task in TASKS if task.check and checks.criteria(task.check))

    assert max(judged.values()) <= 6
    assert len(TASKS) == len({task.messages for task in TASKS})
