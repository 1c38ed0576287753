"""The last message of a request and the rest: what is a question by itself, and what else must be equal."""

from typing import Any

import pytest

from services.chassis.operations import Operation
from services.gateway.cache.semantic.last_message import LONGEST, divided

USER = {"role": "user", "content": "Why?"}


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        (Operation.CHAT, {"messages": [{"role": "system", "content": "s"}, USER]}),
        (Operation.CHAT, {"messages": [{"role": "user", "content": [{"type": "text", "text": "Why?"}]}]}),
        (Operation.MESSAGES, {"system": "s", "messages": [USER]}),
        (Operation.RESPONSES, {"input": "Why?"}),
        (
            Operation.RESPONSES,
            {"input": [{"role": "user", "content": [{"type": "input_text", "text": "Why?"}]}]},
        ),
    ],
)
def test_the_text_goes_and_all_else_stays(operation: Operation, body: dict[str, Any]) -> None:
    found = divided(operation, body)
    assert found is not None
    assert "Why?" == found.text
    assert str(body).replace("Why?", "") == str(found.rest)


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        (Operation.CHAT, {"messages": [USER, {"role": "assistant", "content": "Because"}]}),
        (Operation.CHAT, {"messages": [{"role": "user", "content": " "}]}),
        (Operation.CHAT, {"messages": [{"role": "user", "content": "w" * (LONGEST + 1)}]}),
        (Operation.CHAT, {"messages": [{"role": "user", "content": "𠀀" * (LONGEST // 4 + 1)}]}),
        (
            Operation.CHAT,
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
        ),
        (Operation.CHAT, {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}] * 2}]}),
        (Operation.CHAT, {"messages": [{"role": "tool", "content": "42", "tool_call_id": "c"}]}),
        (Operation.RESPONSES, {"input": [{"type": "function_call_output", "output": "42"}]}),
        (Operation.RESPONSES, {"previous_response_id": "r"}),
        (Operation.EMBEDDINGS, {"input": "Why?"}),
        (Operation.COMPLETIONS, {"prompt": "Why?"}),
    ],
)
def test_no_question_by_itself(operation: Operation, body: dict[str, Any]) -> None:
    assert divided(operation, body) is None
