"""The tools of OpenAI's responses as the functions of a chat, and which of them a function stands for."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from services.executor.bridges.base import objects, taken

# The longest name that providers of chats take, and the characters of a digest that end a shortened one.
MOST_NAME = 64
DIGEST = 12
# What a tool of free text is called with, as the one parameter of a function.
FREE_TEXT = "input"
_FREE_TEXT_SCHEMA = {
    "type": "object",
    "properties": {FREE_TEXT: {"type": "string"}},
    "required": [FREE_TEXT],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that a chat calls as a function.

    Args:
        name: Its name within its namespace.
        namespace: The group that it was given in; empty where in none.
        free_text: Whether it takes a text instead of arguments.

    """

    name: str
    namespace: str = ""
    free_text: bool = False

    @property
    def called(self) -> dict[str, str]:
        """What the item of a call says of the tool."""
        return {"name": self.name, **({"namespace": self.namespace} if self.namespace else {})}


def chat_name(named: Mapping[str, Any]) -> str:
    """What a chat calls the tool that a call, a choice or a tool names; a chat knows no namespaces."""
    namespace = named.get("namespace")
    if not namespace:
        return str(named.get("name"))
    name = f"{namespace}__{named.get('name')}"
    if len(name) <= MOST_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:DIGEST]
    return f"{name[: MOST_NAME - DIGEST - 1]}_{digest}"


def by_chat_name(body: Mapping[str, Any]) -> Mapping[str, Tool]:
    """The tools of a body by what a chat calls them."""
    return {
        chat_name(tool): Tool(str(tool.get("name")), tool.get("namespace", ""), tool.get("type") == "custom")
        for tool in _each(body)
    }


def functions(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The tools of a body as the functions of a chat."""
    return [_function(tool) for tool in _each(body)]


def _each(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The tools, each of a group with the name of that."""
    for tool in objects(body.get("tools")):
        if tool.get("type") == "namespace":
            yield from ({**one, "namespace": str(tool.get("name"))} for one in objects(tool.get("tools")))
        else:
            yield tool


def _function(tool: Mapping[str, Any]) -> dict[str, Any]:
    function = {"name": chat_name(tool), **taken(tool, "description")}
    if tool.get("type") == "custom":
        return {"type": "function", "function": {**function, "parameters": _FREE_TEXT_SCHEMA}}
    return {"type": "function", "function": {**function, **taken(tool, "parameters", "strict")}}
