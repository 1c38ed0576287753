"""Prompts as files for people and for git: front matter in YAML, then the messages as text.

A line that is a role and a colon, such as `system:`, begins a message. Messages that cannot be written so, as they
carry pictures or tool calls, stand in the front matter under `messages`.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from services.chassis.errors import Invalid
from services.gateway.prompts.content import FIELDS, ROLES

# What stands in the front matter beside the content: what the prompt is called, and which one was read.
HEADER = ("name", "kind", "organization_id", "revision", "version")
SUFFIX = ".md"
_FENCE = "---"
_ROLE = re.compile(rf"^({'|'.join(ROLES)}):[ \t]*$", re.MULTILINE)


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as such."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def write(header: Mapping[str, Any], content: Mapping[str, Any]) -> str:
    """The file of a version; reading it gives the same again."""
    front = {name: header[name] for name in HEADER if header.get(name) is not None}
    front |= {name: value for name, value in content.items() if name not in ("messages", "text")}
    is_partial = "text" in content
    body = f"{content['text']}\n" if is_partial else _as_text(content["messages"])
    if not is_partial and _messages(body) != content["messages"]:
        front["messages"], body = content["messages"], ""
    shown = yaml.dump(front, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return f"{_FENCE}\n{shown}{_FENCE}\n{body}"


def read(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The header and the content of a file; the content is not checked.

    Raises:
        Invalid: it has no front matter, or that is no mapping, or names what is unknown.
    """
    fence, _, rest = text.partition("\n")
    front, found, body = rest.partition(f"\n{_FENCE}\n")
    if fence.rstrip() != _FENCE or not found:
        raise Invalid("expected front matter: YAML between two lines of ---, then the messages")
    try:
        given = yaml.safe_load(front)
    except yaml.YAMLError as error:
        raise Invalid(f"the front matter is no YAML: {error}") from error
    if not isinstance(given, dict):
        raise Invalid("the front matter: expected names and values")
    for name in given:
        if name not in HEADER and name not in FIELDS:
            known = ", ".join((*HEADER, *FIELDS))
            raise Invalid(f"the front matter: {name} is unknown; expected {known}")
    header = {name: given.pop(name) for name in HEADER if name in given}
    if header.get("kind") == "partial":
        return header, {**given, "text": body.removesuffix("\n")}
    if "messages" not in given:
        given["messages"] = _messages(body)
    elif body.strip():
        raise Invalid("messages stand both in the front matter and below it; write them once")
    return header, given


def _as_text(messages: list[dict[str, Any]]) -> str:
    return "\n".join(f"{one.get('role')}:\n{one.get('content')}\n" for one in messages)


def _messages(body: str) -> list[dict[str, Any]]:
    """The messages of a text; one without a role is the user's."""
    return list(_split(body))


def _split(body: str) -> Iterator[dict[str, Any]]:
    begun = list(_ROLE.finditer(body))
    if (before := body[: begun[0].start()] if begun else body).strip():
        yield {"role": "user", "content": before.strip("\n")}
    for i, found in enumerate(begun):
        end = begun[i + 1].start() if i + 1 < len(begun) else len(body)
        yield {"role": found[1], "content": body[found.end() : end].strip("\n")}
