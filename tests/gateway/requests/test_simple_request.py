"""The simple routes' bodies."""

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from services.chassis.errors import Invalid
from services.gateway.requests import simple_request
from services.gateway.requests.model_request import ModelRequest

MESSAGES = [{"role": "user", "content": "hi"}]


def prompted(**body: Any) -> ModelRequest:
    return simple_request.of_prompt(orjson.dumps(body))


def chatted(**body: Any) -> ModelRequest:
    return simple_request.of_messages(orjson.dumps(body))


def test_a_prompt_is_a_users_message_after_what_the_system_says() -> None:
    request = prompted(
        prompt="hi", system="Be brief.", model="small", max_tokens=5, lumni={"task_type": "fast"}
    )

    assert {
        "model": "small",
        "max_tokens": 5,
        "messages": [{"role": "system", "content": "Be brief."}, *MESSAGES],
        "stream": False,
    } == request.body
    assert ("small", 5, "fast") == (request.model, request.output_tokens, request.hints.task_type)


def test_without_a_system_and_a_model_the_prompt_is_all() -> None:
    request = prompted(prompt="hi", system=None)

    assert (MESSAGES, "auto") == (request.body["messages"], request.model)


def test_messages_are_a_chat_completions() -> None:
    assert MESSAGES == chatted(messages=MESSAGES, user="ann").body["messages"]


@pytest.mark.parametrize(
    ("read", "body", "param"),
    [
        (prompted, {}, "prompt"),
        (prompted, {"prompt": ""}, "prompt"),
        (prompted, {"prompt": ["hi"]}, "prompt"),
        (prompted, {"prompt": "hi", "system": 1}, "system"),
        (prompted, {"prompt": "hi", "messages": MESSAGES}, "messages"),
        (prompted, {"prompt": "hi", "stream": True}, "stream"),
        (prompted, {"prompt": "hi", "max_tokens": 0}, "max_tokens"),
        (chatted, {}, "messages"),
        (chatted, {"messages": MESSAGES, "prompt": "hi"}, "prompt"),
        (chatted, {"messages": MESSAGES, "n": 2}, "n"),
        (chatted, {"messages": [{"role": "nobody"}]}, "messages[0].role"),
        (chatted, {"messages": MESSAGES, "model": 1}, "model"),
    ],
)
def test_a_mistake_is_named_by_its_field(
    read: Callable[..., ModelRequest], body: dict[str, Any], param: str
) -> None:
    with pytest.raises(Invalid) as caught:
        read(**body)

    assert param == caught.value.param
    assert str(caught.value).startswith(f"{param}: ")
