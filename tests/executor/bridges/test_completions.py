"""Legacy completions by models that only chat."""

from typing import Any

import pytest

from services.executor.bridges.completions import CompletionsBridge
from services.executor.engines.outcomes import ErrorClass, Failed
from tests.executor.fleet import deployment

CHATS = deployment("http://127.0.0.1:1")


def test_a_prompt_is_a_users_message_and_what_is_the_same_travels_on() -> None:
    bridge = CompletionsBridge(
        {"prompt": ["Go on:"], "max_tokens": 5, "n": 2, "stop": ["."], "model": "m", "best_of": 2}, CHATS
    )

    assert {
        "messages": [{"role": "user", "content": "Go on:"}],
        "max_tokens": 5,
        "n": 2,
        "stop": ["."],
    } == bridge.body


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("suffix", "end"),
        ("echo", True),
        ("logprobs", 3),
        ("best_of", 2),
        ("prompt", ["a", "b"]),
        ("prompt", [1, 2]),
    ],
)
def test_what_a_chat_cannot_do_leaves_the_request_to_another_candidate(field: str, value: Any) -> None:
    with pytest.raises(Failed) as failed:
        CompletionsBridge({"prompt": "a", field: value}, CHATS)

    assert (ErrorClass.UNSUPPORTED, field) == (failed.value.error, failed.value.param)


def test_the_reply_is_the_text() -> None:
    bridge = CompletionsBridge({"prompt": "a"}, CHATS)
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    answer = bridge.whole(
        {
            "id": "c1",
            "created": 5,
            "model": "m",
            "choices": [{"index": 0, "message": {"content": "b"}, "finish_reason": "stop"}],
            "usage": usage,
        }
    )

    choice = {"index": 0, "text": "b", "logprobs": None, "finish_reason": "stop"}
    expected = {"object": "text_completion", "id": "c1", "created": 5, "model": "m"}
    assert {**expected, "choices": [choice], "usage": usage} == answer
