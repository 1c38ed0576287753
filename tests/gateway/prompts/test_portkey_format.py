"""Versions of prompts in Portkey's format and in ours."""

import json
from typing import Any

import pytest

from services.chassis.errors import Invalid
from services.gateway.prompts import content, portkey_format
from services.gateway.prompts.content import Kind

TEXT = {"type": "string", "required": False, "default": ""}
SAID = [
    {"role": "system", "content": "Be {{tone}}.{{> house@2}}"},
    {"role": "user", "content": [{"type": "text", "text": "{{#who}}I am {{name}}.{{/who}}"}]},
]
TOOLS = [{"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}]


def test_a_version_keeps_all_that_there_is_room_for() -> None:
    given = {
        "string": json.dumps(SAID),
        "parameters": {
            "temperature": 0.5,
            "stream": False,
            "stop": None,
            "model": "gpt-4o-mini",
            "response_format": {"type": "json_object"},
        },
        "model": "gpt-4o",
        "virtual_key": "vk",
        "tools": TOOLS,
        "tool_choice": {"type": "function", "function": {"name": "find"}},
        "functions": [{"name": "old"}],
        "template_metadata": {"page": 1},
    }

    found = portkey_format.from_portkey(given, {"house": "In {{place}}. {{> deeper}}", "deeper": "{{mood}}"})

    assert ("virtual_key", "functions", "template_metadata") == found.left
    assert {
        "messages": SAID,
        "model": "gpt-4o",
        "tools": TOOLS,
        "response_format": {"type": "json_object"},
        "parameters": {"temperature": 0.5, "tool_choice": given["tool_choice"]},
        "variables": dict.fromkeys(("mood", "name", "place", "tone", "who"), TEXT),
    } == found.content
    assert {"house@2"} == content.parse(found.content, Kind.PROMPT).partials

    back = portkey_format.to_portkey(found.content)
    assert ("variables",) == back.left
    again = portkey_format.from_portkey(
        back.content, {"house": "In {{place}}. {{> deeper}}", "deeper": "{{mood}}"}
    )
    assert found.content == again.content
    assert () == again.left


@pytest.mark.parametrize(
    ("string", "messages"),
    [
        ("Say {{what}}", [{"role": "user", "content": "Say {{what}}"}]),
        ({"string": '[{"role": "user", "content": "Hi"}]'}, [{"role": "user", "content": "Hi"}]),
        ([{"role": "user", "content": "Hi"}], [{"role": "user", "content": "Hi"}]),
        # What is JSON by chance is a text.
        ("42", [{"role": "user", "content": "42"}]),
    ],
)
def test_messages_are_read_in_each_shape(string: Any, messages: list[Any]) -> None:
    assert messages == portkey_format.from_portkey({"string": string}, {}).content["messages"]


def test_what_are_no_messages_is_refused() -> None:
    for string in (None, 3, "{{#open}}"):
        with pytest.raises(Invalid):
            portkey_format.from_portkey({"string": string}, {})
