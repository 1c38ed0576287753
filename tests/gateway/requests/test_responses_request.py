"""What OpenAI's responses may hold, and how much of it is reserved."""

from typing import Any

import orjson
import pytest
from lumni.chat.v1 import chat_pb2
from lumni.classifier.v1 import classifier_pb2

from services.chassis.errors import Invalid
from services.gateway.requests import prompt_size, responses_request
from services.gateway.requests.model_request import ModelRequest


def parsed(given: Any = "hello", **fields: Any) -> ModelRequest:
    return responses_request.parse(responses_request.read(orjson.dumps({"input": given, **fields})))


def part(kind: str, **more: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": kind, **more}]}]


def test_a_text_travels_on_as_it_came() -> None:
    asked = parsed(store=False, previous_response_id=None)

    assert {"input": "hello", "stream": False} == asked.body
    assert ["hello"] == [message.text for message in asked.messages]


def test_a_response_goes_on_from_earlier_items() -> None:
    earlier: list[dict[str, Any]] = [
        {"type": "message", "role": "user", "content": "Who are you?"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Nobody."}]},
    ]
    read = responses_request.read(b'{"input": "And I?", "previous_response_id": "resp_1"}')
    asked = responses_request.parse(read, earlier)

    assert ("resp_1", True) == (read.previous, read.store)
    assert ["Who are you?", "Nobody.", "And I?"] == [message.text for message in asked.messages]
    assert [*earlier, {"type": "message", "role": "user", "content": "And I?"}] == asked.body["input"]


def test_all_items_are_counted_and_messages_are_read() -> None:
    asked = parsed(
        [
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "input_image", "image_url": "https://a.example/a.png"}]},
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x" * 400},
            {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "y" * 300},
            {"type": "function_call_output", "call_id": "c1", "output": "blue"},
        ],
        instructions="Look.",
        tools=[{"type": "function", "name": "look", "parameters": {"type": "object"}}],
        text={"format": {"type": "json_schema", "name": "a", "schema": {"type": "object"}}},
    )

    assert ["Look.", "Be brief.", "", "", "", "blue"] == [message.text for message in asked.messages]
    assert chat_pb2.ROLE_TOOL == asked.messages[-1].role
    assert asked.vision
    assert ["look"] == asked.tools
    assert classifier_pb2.OUTPUT_FORMAT_JSON_SCHEMA == asked.output_format
    assert asked.prompt_tokens > prompt_size.IMAGE_TOKENS + 700


def test_what_a_file_and_sound_hold_is_in_the_bound() -> None:
    data = "x" * 10_000

    assert parsed(part("input_file", file_data=data)).prompt_tokens >= 5000
    assert parsed(part("input_audio", input_audio={"data": data})).prompt_tokens >= 100


@pytest.mark.parametrize(
    ("given", "fields", "param"),
    [
        (None, {}, "input"),
        ("", {}, "input"),
        ([], {}, "input"),
        (["a"], {}, "input[0]"),
        ([{"role": "robot", "content": "a"}], {}, "input[0].role"),
        ([{"role": "user", "content": 5}], {}, "input[0].content"),
        ([{"type": "computer_call"}], {}, "input[0].type"),
        ([{"type": "item_reference", "id": "a"}], {}, "input[0].type"),
        ([{"type": "function_call", "call_id": "c", "name": "n"}], {}, "input[0].arguments"),
        ([{"type": "function_call_output", "call_id": "c"}], {}, "input[0].output"),
        (part("input_text"), {}, "input[0].content[0].text"),
        (part("input_image", file_id="f"), {}, "input[0].content[0].file_id"),
        (part("input_file", file_url="https://a.example/a.pdf"), {}, "input[0].content[0].file_data"),
        (part("video"), {}, "input[0].content[0].type"),
        ("a", {"store": 1}, "store"),
        ("a", {"previous_response_id": 5}, "previous_response_id"),
        ("a", {"conversation": "c"}, "conversation"),
        ("a", {"background": True}, "background"),
        ("a", {"prompt": {"id": "p"}}, "prompt"),
        ("a", {"tools": [{"type": "file_search"}]}, "tools[0].type"),
        ("a", {"tools": [{"type": "function", "function": {}}]}, "tools[0].name"),
        ("a", {"tools": [{"type": "function", "name": "a" * 257}]}, "tools[0].name"),
        ("a", {"tool_choice": {"type": "mcp"}}, "tool_choice.type"),
        ("a", {"tool_choice": 5}, "tool_choice"),
        ("a", {"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ("a", {"reasoning": "hard"}, "reasoning"),
        ("a", {"max_output_tokens": 0}, "max_output_tokens"),
        ("a", {"temperature": 2.5}, "temperature"),
        ("a", {"instructions": ["a"]}, "instructions"),
        ("a", {"stream": "yes"}, "stream"),
        ("a", {"lumni": {"what": 1}}, "lumni.what"),
    ],
)
def test_a_mistake_is_named_by_its_field(given: Any, fields: dict[str, Any], param: str) -> None:
    with pytest.raises(Invalid) as refused:
        parsed(given, **fields)

    assert param == refused.value.param
