"""What an answer says, read out of the JSON of each API, whole or in the pieces of a stream; only its first choice."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from services.chassis.operations import Operation

# How a provider says that an answer was refused, in the words of each API.
REFUSALS = ("content_filter", "refusal")


@dataclass(slots=True)
class Said:
    """What an answer says.

    Attributes:
        text: Its text.
        refusal: The text by which the model refused, where the API has one.
        calls: The functions that it calls, by their place: name and arguments as JSON text.
        finish: Why it ended, in the words of its API.

    """

    text: str = ""
    refusal: str = ""
    calls: dict[int, list[str]] = field(default_factory=dict)
    finish: str = ""

    @property
    def refused(self) -> bool:
        """Whether the provider says that the request was refused."""
        return bool(self.refusal) or self.finish in REFUSALS


def read(operation: Operation, pieces: Sequence[str], *, stream: bool) -> Said:
    """Read an answer; what is not in its API's format is passed over.

    Args:
        operation: A chat completion, a response or a message.
        pieces: The JSON of the answer, or of each event of its stream.
        stream: Which of both.
    """
    bodies = [body for piece in pieces if isinstance(body := _parsed(piece), dict)]
    said = Said()
    for body in bodies:
        if operation is Operation.CHAT:
            _chat(body, said, "delta" if stream else "message")
        elif operation is Operation.RESPONSES:
            # The last event of a stream has the whole response.
            whole = body.get("response") if stream else body
            if isinstance(whole, dict) and whole.get("status") not in (None, "in_progress", "queued"):
                _response(whole, said)
        elif stream:
            _message_event(body, said)
        else:
            _message(body, said)
    return said


def _chat(body: dict[str, Any], said: Said, name: str) -> None:
    for choice in _objects(body.get("choices")):
        message = choice.get(name)
        if choice.get("index", 0) != 0 or not isinstance(message, dict):
            continue
        said.text += _text(message.get("content"))
        said.refusal += _text(message.get("refusal"))
        said.finish = _text(choice.get("finish_reason")) or said.finish
        for place, call in enumerate(_objects(message.get("tool_calls"))):
            function = call.get("function")
            if isinstance(function, dict):
                _called(said, call.get("index", place), function.get("name"), function.get("arguments"))


def _response(body: dict[str, Any], said: Said) -> None:
    details = body.get("incomplete_details")
    said.finish = _text(details.get("reason")) if isinstance(details, dict) else ""
    said.finish = said.finish or _text(body.get("status"))
    for place, item in enumerate(_objects(body.get("output"))):
        if item.get("type") == "function_call":
            _called(said, place, item.get("name"), item.get("arguments"))
        for part in _objects(item.get("content")) if item.get("type") == "message" else ():
            said.text += _text(part.get("text"))
            said.refusal += _text(part.get("refusal"))


def _message(body: dict[str, Any], said: Said) -> None:
    said.finish = _text(body.get("stop_reason"))
    for place, block in enumerate(_objects(body.get("content"))):
        if block.get("type") == "text":
            said.text += _text(block.get("text"))
        elif block.get("type") == "tool_use":
            arguments = orjson.dumps(block.get("input")).decode()
            _called(said, place, block.get("name"), arguments)


def _message_event(body: dict[str, Any], said: Said) -> None:
    block, delta = body.get("content_block"), body.get("delta")
    if isinstance(block, dict) and block.get("type") == "tool_use":
        _called(said, body.get("index", 0), block.get("name"), "")
    if isinstance(delta, dict):
        said.finish = _text(delta.get("stop_reason")) or said.finish
        if delta.get("type") == "text_delta":
            said.text += _text(delta.get("text"))
        elif delta.get("type") == "input_json_delta":
            _called(said, body.get("index", 0), "", delta.get("partial_json"))


def _called(said: Said, place: Any, name: Any, arguments: Any) -> None:
    call = said.calls.setdefault(place if isinstance(place, int) else 0, ["", ""])
    call[0] += _text(name)
    call[1] += _text(arguments)


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    return (one for one in value if isinstance(one, dict)) if isinstance(value, list) else iter(())


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _parsed(piece: str) -> Any:
    try:
        return orjson.loads(piece)
    except orjson.JSONDecodeError:
        return None
