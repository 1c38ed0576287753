"""Versions of prompts as Portkey has them, and as they are kept here.

Portkey keeps the messages as JSON in a text, the parameters beside them with the response format among them, and
declares no variables: they are texts, and one that is missing is empty.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from services.chassis.errors import Invalid
from services.gateway.prompts import template
from services.gateway.prompts.content import texts

# Of a version at Portkey, what is not carried: a credential there, an older way to name tools, and what its page shows.
NOT_CARRIED = ("virtual_key", "functions", "template_metadata")
# What stands among the parameters at Portkey, and elsewhere in a version here.
APART = ("model", "tools", "response_format")
# What only a request can say.
OF_REQUESTS = ("stream", "stream_options", "messages", "prompt")


@dataclass(frozen=True, slots=True)
class Converted:
    """A version in the other format, and the names of what is not carried."""

    content: dict[str, Any]
    left: tuple[str, ...] = ()


def from_portkey(version: Mapping[str, Any], partials: Mapping[str, str]) -> Converted:
    """A version as it is kept here.

    Args:
        version: As Portkey's API gives it.
        partials: The texts of the partials, whose variables are the prompt's.

    Raises:
        Invalid: its messages cannot be read.
    """
    parameters = {
        name: value for name, value in (version.get("parameters") or {}).items() if value is not None
    }
    left = [name for name in NOT_CARRIED if version.get(name)]
    left += [f"parameters.{name}" for name in OF_REQUESTS if parameters.pop(name, None)]
    messages = _messages(version.get("string"))
    content: dict[str, Any] = {"messages": messages}
    for name in APART:
        value = parameters.pop(name, None) if version.get(name) is None else version[name]
        parameters.pop(name, None)
        if value:
            content[name] = value
    if version.get("tool_choice") and "tools" in content:
        parameters["tool_choice"] = version["tool_choice"]
    if parameters:
        content["parameters"] = parameters
    if names := sorted(_variables(messages, partials)):
        content["variables"] = {name: {"type": "string", "required": False, "default": ""} for name in names}
    return Converted(content, tuple(left))


def to_portkey(content: Mapping[str, Any]) -> Converted:
    """The same of a version that is kept here, as the fields of Portkey's requests."""
    parameters = dict(content.get("parameters", {}))
    choice = parameters.pop("tool_choice", None)
    if "response_format" in content:
        parameters["response_format"] = content["response_format"]
    fields: dict[str, Any] = {
        "string": json.dumps(content["messages"], ensure_ascii=False),
        "parameters": parameters,
    }
    fields |= {name: content[name] for name in ("model", "tools") if name in content}
    if isinstance(choice, dict):
        fields["tool_choice"] = choice
    elif choice is not None:
        parameters["tool_choice"] = choice
    return Converted(fields, ("variables",) if content.get("variables") else ())


def partials(content: Mapping[str, Any]) -> frozenset[str]:
    """The partials that the templates of a version name."""
    said = content.get("messages", content.get("text"))
    return frozenset().union(
        *(template.check(text, "string").partials for _, text in texts(said, "messages"))
    )


def _messages(string: Any) -> list[Any]:
    """The messages of a version; a text that is no JSON is what the user says."""
    if isinstance(string, Mapping):
        string = string.get("string")
    if isinstance(string, str):
        try:
            found = json.loads(string)
        except ValueError:
            found = None
        if not isinstance(found, list):
            return [{"role": "user", "content": string}]
        string = found
    if not isinstance(string, list):
        raise Invalid("string: expected messages")
    return string


def _variables(messages: Iterable[Any], partials: Mapping[str, str]) -> Iterator[str]:
    """All names that templates may take from a request, those in sections and in partials included."""
    waiting = [text for _, text in texts(messages, "messages")]
    seen: set[str] = set()
    while waiting:
        used = template.check(waiting.pop(), "string")
        yield from used.names | used.inside
        for name in used.partials - seen:
            seen.add(name)
            waiting.append(partials.get(name.partition("@")[0], ""))
