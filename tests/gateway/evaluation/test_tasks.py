"""A file of tasks is read, or the first line that is wrong is named."""

from pathlib import Path

import pytest

from services.gateway.evaluation.tasks import UnreadableError, load

MESSAGES = '"messages": [{"role": "user", "content": "hello"}]'


def test_a_task_needs_nothing_but_messages(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text(
        f'{{{MESSAGES}}}\n\n{{"id": "two", "category": "factual question", "level": 3, {MESSAGES}}}\n'
    )

    first, second = load(path)

    assert (first.digest, "other", 2, None) == (first.id, first.category, first.level, first.check)
    assert ("two", "factual_question", 3) == (second.id, second.category, second.level)
    assert [{"role": "user", "content": "hello"}] == first.prompt


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there are no tasks in it"),
        ("[]", ":1: the object: Input should be"),
        ("{", ":1: not JSON"),
        ('{"id": "a"}', ":1: messages: Field required"),
        ('{"messages": []}', ":1: messages: "),
        (f'{{{MESSAGES}}}\n{{{MESSAGES}, "level": 5}}', ":2: level: "),
        (f'{{{MESSAGES}, "category": "cooking"}}', ":1: category: Value error, expected one of chat"),
        (f'{{{MESSAGES}, "check": {{"kind": "number"}}}}', ":1: check.number.value: Field required"),
        (f'{{{MESSAGES}, "wrongg": 1}}', ":1: wrongg: "),
        (f"{{{MESSAGES}}}\n{{{MESSAGES}}}", ":2: id: "),
    ],
)
def test_the_first_mistake_is_named_with_its_line(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text(text)

    with pytest.raises(UnreadableError) as caught:
        load(path)

    assert f"{path}{said}" in str(caught.value) if said[0] == ":" else said in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match=r"none\.jsonl: cannot be read"):
        load(tmp_path / "none.jsonl")
