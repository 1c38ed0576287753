"""The last message of a conversation, and all the rest of the request."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.chassis.operations import Operation

# A longer message is seldom asked again in other words, in bytes of UTF-8; it bounds what reading one costs.
LONGEST = 1024
# Where each format of a conversation has its messages, and the type of a message's part that is text.
_PLACES = {
    Operation.CHAT: ("messages", "text"),
    Operation.MESSAGES: ("messages", "text"),
    Operation.RESPONSES: ("input", "input_text"),
}


@dataclass(frozen=True, slots=True)
class Divided:
    """A request's last message, and its body without that text."""

    text: str
    rest: dict[str, Any]


def divided(operation: Operation, body: Mapping[str, Any]) -> Divided | None:
    """Take a body apart; None where its last message is not the user's, is not text alone, is empty or too long."""
    if operation not in _PLACES:
        return None
    place, kind = _PLACES[operation]
    messages: Any = body.get(place)
    text, rest = (messages, "") if isinstance(messages, str) else _of_messages(messages, kind)
    if not isinstance(text, str) or not text.strip() or len(text.encode("utf-8", "replace")) > LONGEST:
        return None
    return Divided(text, {**body, place: rest})


def _of_messages(messages: Any, kind: str) -> tuple[Any, Any]:
    """The text of the last of several messages, and these without it; no text where that is none."""
    last: Any = messages[-1] if isinstance(messages, list) and messages else None
    if not isinstance(last, dict) or last.get("role") != "user":
        return None, None
    content: Any = last.get("content")
    if not isinstance(content, list):
        return content, [*messages[:-1], {**last, "content": ""}]
    part: Any = content[0] if len(content) == 1 else None
    if not isinstance(part, dict) or part.get("type") != kind:
        return None, None
    return part.get("text"), [*messages[:-1], {**last, "content": [{**part, "text": ""}]}]
