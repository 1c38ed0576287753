"""Prompts as files."""

from typing import Any

import pytest

from services.chassis.errors import Invalid
from services.gateway.prompts import files

HEADER = {"name": "greeting", "kind": "prompt", "revision": 4, "version": 2}
PLAIN: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": "Be kind.\n\nBe brief: {{tone}}"},
        {"role": "user", "content": "I am {{name}}"},
    ],
    "variables": {"name": {"type": "string"}, "tone": {"default": "warm"}},
    "parameters": {"temperature": 0.2, "stop": ["a\nb"]},
}


def user(content: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}]}


def test_a_file_reads_well() -> None:
    lines = files.write(HEADER, PLAIN).splitlines()

    assert ["---", "name: greeting"] == lines[:2]
    assert ["system:", "Be kind.", "", "Be brief: {{tone}}", "", "user:", "I am {{name}}"] == lines[-7:]


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        user("system:\nno role"),
        user("\n spaces \n\n"),
        user("---\nnot the end\n---"),
        user("grüße 你好 \U0001f600"),
        user([{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "{{url}}"}}]),
        {"messages": [{"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}]},
        {"messages": [{"role": "user", "name": "ann", "content": "named"}]},
        user("a\r\nb\ttab"),
    ],
)
def test_what_is_written_is_read_again(content: dict[str, Any]) -> None:
    assert (HEADER, content) == files.read(files.write(HEADER, content))


@pytest.mark.parametrize("text", ["", "one line", "two\nlines\n", "\n"])
def test_a_partial_keeps_its_text(text: str) -> None:
    header = {"name": "house", "kind": "partial"}

    assert (header, {"text": text}) == files.read(files.write(header, {"text": text}))


def test_a_text_without_a_role_is_the_users() -> None:
    assert user("Hello {{name}}") == files.read("---\nname: a\n---\nHello {{name}}\n")[1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no front matter", "expected front matter"),
        ("---\nname: [\n---\n", "is no YAML"),
        ("---\n- a\n---\n", "names and values"),
        ("---\nnames: a\n---\n", "names is unknown"),
        ("---\nmessages: []\n---\nuser:\nx", "write them once"),
        ("---\nname: !!python/object/apply:os.system ['id']\n---\n", "is no YAML"),
    ],
)
def test_what_is_no_prompt_is_refused(text: str, expected: str) -> None:
    with pytest.raises(Invalid, match=expected):
        files.read(text)
