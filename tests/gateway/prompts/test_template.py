"""Templates, of honest people and of others."""

from typing import Any

import pytest

from services.chassis.errors import Invalid
from services.gateway.prompts import template
from services.gateway.prompts.template import MOST_RENDERED, Renderer
from tests.gateway.prompts import hostile
from tests.gateway.prompts.hostile import SECRET


class Holder:
    """A Python object that should not be here; templates see that it is one and nothing of it."""

    secret = SECRET
    password = SECRET


VARIABLES: dict[str, Any] = {
    "text": "plain",
    "number": 7,
    "flag": True,
    "list": [1] * 2000,
    "object": {"inner": "value"},
    "self": Holder(),
}
PARTIALS = {
    "bomb": "{{#list}}{{text}}{{/list}}",
    "again": "{{>again}}{{>again}}",
    "ping": "{{>pong}}",
    "pong": "{{>ping}}",
    "lines": "a\n" * 30_000,
}


def render(text: str, variables: dict[str, Any] | None = None, partials: dict[str, str] | None = None) -> str:
    template.check(text, "text")
    return Renderer(variables or {}, partials or {}).render(text)


def test_there_are_five_hundred_hostile_templates() -> None:
    assert len(set(hostile.templates())) >= 500


# One bomb that went off would take minutes.
@pytest.mark.timeout(60)
def test_hostile_templates_reach_no_object_and_end() -> None:
    outcomes = {"refused": 0, "rendered": 0}
    for text in hostile.templates():
        try:
            shown = render(text, VARIABLES, PARTIALS)
        except Invalid:
            outcomes["refused"] += 1
            continue
        outcomes["rendered"] += 1
        # What was written stays; what was looked up is not there.
        assert SECRET not in shown, text
        assert not any(word in shown for word in ("<class", "built-in", "object at 0x", "root:")), text
        assert len(shown.encode()) <= MOST_RENDERED
    assert outcomes["refused"] > 50


@pytest.mark.parametrize("name", ["__class__", "upper", "real", "keys", "0", "length"])
@pytest.mark.parametrize("holder", ["text", "number", "flag", "list", "object"])
def test_a_name_is_the_key_of_an_object_and_nothing_else(holder: str, name: str) -> None:
    assert "()" == render(f"({{{{{holder}.{name}}}}})", VARIABLES)


@pytest.mark.parametrize(
    ("text", "variables", "expected"),
    [
        ("Hello {{name}}!", {"name": "Ann & <Bob>"}, "Hello Ann & <Bob>!"),
        ("{{{name}}} {{&name}}", {"name": '"x"'}, '"x" "x"'),
        ("{{#on}}yes{{/on}}{{^on}}no{{/on}}", {"on": True}, "yes"),
        ("{{#on}}yes{{/on}}{{^on}}no{{/on}}", {"on": False}, "no"),
        ("{{#rows}}{{name}};{{/rows}}", {"rows": [{"name": "a"}, {"name": "b"}]}, "a;b;"),
        ("{{#words}}{{.}} {{/words}}", {"words": ["a", "b"]}, "a b "),
        ("{{person.name}}", {"person": {"name": "Ann"}}, "Ann"),
        (
            "{{n}} {{flag}} {{none}} {{list}}",
            {"n": 1.5, "flag": True, "none": None, "list": [1]},
            "1.5 true  [1]",
        ),
        ("a\n{{! a remark }}\nb", {}, "a\nb"),
        ("{{value}}", {"value": "{{secret}} {{>partial}}"}, "{{secret}} {{>partial}}"),
        ("grüße, {{wer}} 你好", {"wer": "Jürgen"}, "grüße, Jürgen 你好"),
    ],
)
def test_what_templates_become(text: str, variables: dict[str, Any], expected: str) -> None:
    assert expected == render(text, variables)


def test_partials_come_from_the_mapping_alone() -> None:
    partials = {"sign": "-- {{name}}", "outer": "[{{>sign}}]"}

    assert "[-- Ann]" == render("{{>outer}}", {"name": "Ann"}, partials)
    assert "" == render("{{>other}}", {"name": "Ann"}, partials)


def test_the_bounds_are_of_all_templates_of_a_prompt_together() -> None:
    renderer = Renderer({"text": "x" * (MOST_RENDERED // 2)}, {})
    renderer.render("{{text}}")

    with pytest.raises(Invalid, match="longer than"):
        renderer.render("{{text}}and more")


def test_a_check_tells_what_a_template_uses() -> None:
    used = template.check("{{a}} {{#b.c}}{{d}}{{> inner@2}}{{/b.c}} {{.}} {{> outer}}", "text")

    assert {"a", "b"} == used.names
    assert {"inner@2", "outer"} == used.partials
