"""Prompts and answers in the span of a request, in the words of OpenTelemetry's GenAI conventions, by opt-in."""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from services.chassis import stages, telemetry
from services.gateway.recording.record import Content, Record

# The most of a request with its answer, in characters of JSON: spans are for seeing what went on, wait in memory to be
# sent, and are told the texts on the event loop, which takes up to two milliseconds.
LONGEST = 32 * 1024


class SpanTexts:
    """Adds the texts of a request to its span, where that is recorded and they may be kept."""

    def __init__(self, content: Content) -> None:
        self._content = content

    def add(self, record: Record) -> None:
        """Add those of a request that is over, and whose span is the current one."""
        if not (telemetry.recording() and record.may_keep_texts):
            return
        if record.length > LONGEST:
            stages.describe({"lumni.texts_left_out": True})
            return
        sides = record.sides(self._content)
        stages.describe(
            {
                "gen_ai.input.messages": _shown(_input(sides["request"])),
                "gen_ai.output.messages": _shown(_output(sides["response"])),
            }
        )


def _shown(messages: Iterator[tuple[str, str]]) -> str:
    found = [{"role": role, "parts": [{"type": "text", "content": text}]} for role, text in messages if text]
    return orjson.dumps(found).decode() if found else ""


def _input(body: Any) -> Iterator[tuple[str, str]]:
    """Who says what in a request's body, whichever API it is of."""
    if not isinstance(body, dict):
        return
    for name in ("system", "instructions"):
        yield "system", _text(body.get(name))
    for name in ("messages", "input", "prompt"):
        said = body.get(name)
        for one in said if isinstance(said, list) else [said]:
            role = str(one.get("role", "user")) if isinstance(one, dict) else "user"
            yield role, _text(one)


def _output(answer: Any) -> Iterator[tuple[str, str]]:
    """What an answer says, whichever API it is of."""
    if not isinstance(answer, dict):
        return
    said = answer.get("texts")
    if isinstance(said, Mapping):
        # A stream's, in one piece.
        for text in said.values():
            yield "assistant", text
        return
    choices = answer.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict):
            yield "assistant", _text(choice.get("message", choice.get("text")))
    for name in ("content", "output"):
        yield "assistant", _text(answer.get(name))


def _text(found: Any) -> str:
    """The text of a message, of its parts, or of a list of them."""
    if isinstance(found, str):
        return found
    if isinstance(found, list):
        return "\n".join(filter(None, map(_text, found)))
    if isinstance(found, dict):
        return _text(found.get("content", found.get("text")))
    return ""
