"""Versions of prompts: what is refused when they are made, and what they become."""

from typing import Any

import pytest

from services.chassis.errors import Invalid, NotFound
from services.gateway.prompts import content, reference
from services.gateway.prompts.content import Kind, Recipe
from services.gateway.prompts.reference import Reference

GREETING: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": "You greet {{#formal}}formally{{/formal}}.{{> house}}"},
        {"role": "user", "content": [{"type": "text", "text": "I am {{name}}"}]},
    ],
    "variables": {
        "name": {"type": "string", "max_length": 20},
        "formal": {"type": "boolean", "default": False},
        "tone": {"enum": ["warm", "cool"], "required": False},
    },
    "model": "auto",
    "parameters": {"temperature": 0.2},
    "response_format": {"type": "text"},
}


def recipe(given: dict[str, Any]) -> Recipe:
    return Recipe("pr-1", "greeting", 1, content.parse(given, Kind.PROMPT), {"house": " Be {{tone}}."})


def test_a_version_becomes_a_chat_request() -> None:
    assert {
        "messages": [
            {"role": "system", "content": "You greet formally. Be warm."},
            {"role": "user", "content": [{"type": "text", "text": "I am Ann"}]},
        ],
        "model": "auto",
        "temperature": 0.2,
        "response_format": {"type": "text"},
    } == recipe(GREETING).render({"name": "Ann", "formal": True, "tone": "warm"})


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({}, "variables.name"),
        ({"name": 7}, "variables.name"),
        ({"name": "x" * 21}, "variables.name"),
        ({"name": "Ann", "formal": "yes"}, "variables.formal"),
        ({"name": "Ann", "formal": 1}, "variables.formal"),
        ({"name": "Ann", "tone": "rude"}, "variables.tone"),
        ({"name": "Ann", "nobody": 1}, "variables.nobody"),
        ("Ann", "variables"),
    ],
)
def test_wrong_variables_are_named(given: Any, param: str) -> None:
    with pytest.raises(Invalid) as caught:
        recipe(GREETING).render(given)

    assert param == caught.value.param


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "king", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": ""}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "{{#a}}"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "{{stranger}}"}]}, "variables"),
        ({"messages": [{"role": "user", "content": "{{> ../etc}}"}]}, "messages[0].content"),
        ({"variables": {"1st": {}}}, "variables.1st"),
        ({"variables": {"a": {"type": "date"}}}, "variables.a.type"),
        ({"variables": {"a": {"type": "integer", "default": "x"}}}, "variables.a.default"),
        ({"variables": {"a": {"type": "integer", "max_length": 3}}}, "variables.a.max_length"),
        ({"variables": {"a": {"kind": "x"}}}, "variables.a"),
        ({"parameters": {"messages": []}}, "parameters.messages"),
        ({"parameters": []}, "parameters"),
        ({"more": 1}, "content.more"),
    ],
)
def test_a_wrong_version_is_refused_by_its_field(change: dict[str, Any], param: str) -> None:
    with pytest.raises(Invalid) as caught:
        content.parse(GREETING | change, Kind.PROMPT)

    assert param == caught.value.param


def test_a_partial_is_a_text_alone() -> None:
    assert {"other"} == content.parse({"text": "{{> other}}"}, Kind.PARTIAL).partials
    with pytest.raises(Invalid):
        content.parse(GREETING, Kind.PARTIAL)


def test_names_and_versions() -> None:
    assert Reference("greeting", "production") == reference.parse("greeting")
    assert Reference("greeting", "3") == reference.parse("greeting@3")
    assert Reference("greeting", "staging") == reference.parse("greeting", "staging")
    labels = {"production": 2, "staging": 3}
    assert [2, 3, 3, 1] == [
        reference.parse(f"greeting{which}").version(labels, 3) for which in ("", "@staging", "@latest", "@1")
    ]


@pytest.mark.parametrize(
    "text", ["", "@1", "a@", "a@b@c", "a/b", "../a", "a b", "a@B", "x" * 129, "a@" + "9" * 65]
)
def test_what_names_no_prompt_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        reference.parse(text)


@pytest.mark.parametrize("which", ["0", "4", "99999999999999999999", "9" * 5000, "\u00b2", "canary"])
def test_a_version_that_is_not_there_is_not_found(which: str) -> None:
    with pytest.raises(NotFound, match="it has 1 to 3, latest, and the labels production"):
        Reference("greeting", which).version({"production": 2}, 3)


def test_two_versions_at_once_are_refused() -> None:
    with pytest.raises(Invalid):
        reference.parse("greeting@3", "4")
