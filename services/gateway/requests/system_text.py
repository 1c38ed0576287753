"""What the system says in a conversation, in each API's format: read, and preceded by more."""

from collections.abc import Iterator, Mapping
from typing import Any

from services.chassis.operations import Operation

SEPARATOR = "\n\n"
# The operations that are conversations.
CONVERSATIONS = frozenset((Operation.CHAT, Operation.MESSAGES, Operation.RESPONSES))
_SYSTEM = ("system", "developer")


def texts(operation: Operation, body: Mapping[str, Any]) -> Iterator[str]:
    """All that the system says, text by text."""
    if operation is Operation.CHAT:
        for message in body["messages"]:
            if message["role"] in _SYSTEM:
                yield from _of_content(message.get("content"))
    elif operation is Operation.MESSAGES:
        yield from _of_content(body.get("system"))
    else:
        yield from _of_content(body.get("instructions"))


def preceded(operation: Operation, body: dict[str, Any], text: str) -> dict[str, Any]:
    """The body where the system says a text first.

    A conversation that begins with a system's message gets it there and no second message, as some models take but one.
    """
    if operation is Operation.MESSAGES:
        return {**body, "system": _before(body.get("system"), text)}
    if operation is Operation.RESPONSES:
        return {**body, "instructions": _before(body.get("instructions"), text)}
    messages = body["messages"]
    if messages[0]["role"] in _SYSTEM:
        first = {**messages[0], "content": _before(messages[0].get("content"), text)}
        return {**body, "messages": [first, *messages[1:]]}
    return {**body, "messages": [{"role": "system", "content": text}, *messages]}


def _before(content: Any, text: str) -> Any:
    if isinstance(content, list):
        return [{"type": "text", "text": text}, *content]
    return f"{text}{SEPARATOR}{content}" if content else text


def _of_content(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        yield from (part["text"] for part in content if isinstance(part.get("text"), str))
