"""What becomes of a request that names a prompt."""

from typing import Any

import pytest

from services.chassis.errors import Invalid
from services.gateway.prompts import expansion
from services.gateway.prompts.reference import Reference

SAID: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hello"},
    ],
    "model": "small",
    "temperature": 0.2,
    "max_tokens": 50,
}


def test_a_prompt_is_taken_out_of_the_body() -> None:
    body = {"model": "a", "prompt": {"id": "greeting", "version": 3, "variables": {"name": "Ann"}}}

    wanted = expansion.taken(body)

    assert wanted == expansion.Wanted(Reference("greeting", "3"), {"name": "Ann"})
    assert {"model": "a"} == body
    assert expansion.taken({"model": "a"}) is None


@pytest.mark.parametrize(
    ("prompt", "param"),
    [
        ("greeting", "prompt"),
        ({"version": "1"}, "prompt"),
        ({"id": 7}, "prompt"),
        ({"id": "greeting", "vars": {}}, "prompt.vars"),
        ({"id": "greeting", "version": 1.5}, "prompt.version"),
        ({"id": "greeting", "version": True}, "prompt.version"),
        ({"id": "greeting", "version": ""}, "prompt.version"),
        ({"id": "../greeting"}, "prompt.id"),
        ({"id": "greeting@1", "version": "2"}, "prompt.id"),
    ],
)
def test_what_names_no_prompt_is_refused(prompt: Any, param: str) -> None:
    with pytest.raises(Invalid) as caught:
        expansion.taken({"prompt": prompt})

    assert param == caught.value.param


def test_the_request_goes_before_the_prompts_defaults_and_its_messages_come_after() -> None:
    own = {"role": "user", "content": "And now?"}

    chat = expansion.as_chat(SAID, {"temperature": 1, "max_completion_tokens": 9, "messages": [own]})

    assert {
        "messages": [*SAID["messages"], own],
        "model": "small",
        "temperature": 1,
        "max_completion_tokens": 9,
    } == chat


def test_a_response_gets_instructions_items_and_its_own_names() -> None:
    said = SAID | {
        "messages": [
            *SAID["messages"],
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Look:"},
                    {"type": "image_url", "image_url": {"url": "data:x", "detail": "low"}},
                ],
            },
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {}}},
    }

    response = expansion.as_response(said, {"instructions": "Be brief.", "input": "Go on"})

    assert {
        "model": "small",
        "temperature": 0.2,
        "max_output_tokens": 50,
        "instructions": "Be kind.\n\nBe brief.",
        "input": [
            {"type": "message", "role": "user", "content": "Hello"},
            {
                "type": "message",
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "Look:"},
                    {"type": "input_image", "image_url": "data:x", "detail": "low"},
                ],
            },
            {"type": "message", "role": "user", "content": "Go on"},
        ],
        "tools": [{"type": "function", "name": "f", "parameters": {}}],
        "text": {"format": {"type": "json_schema", "name": "s", "schema": {}}},
    } == response


@pytest.mark.parametrize(
    "more",
    [
        {"stop": ["x"]},
        {"seed": 7},
        {"messages": [{"role": "tool", "tool_call_id": "1", "content": "x"}]},
        {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]},
    ],
)
def test_what_a_response_cannot_take_is_refused_by_name(more: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match="/v1/chat/completions"):
        expansion.as_response(SAID | more, {})
