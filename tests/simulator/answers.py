"""The answer to a request: the same for the same request, in pieces of one token each."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import cycle, islice
from typing import Any

import orjson

from tests.simulator.behaviour import Behaviour
from tests.simulator.counts import Tokens
from tests.simulator.request import ParsedRequest, Tool

MOST_CALLS = 3
JSON_PIECE = 8
LONGEST_WORD = 32
EFFORTS = {"low": 8, "medium": 16, "high": 32, "xhigh": 48, "max": 64}


class Finish(StrEnum):
    """Why an answer ended, in OpenAI's words."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"


@dataclass(frozen=True, slots=True)
class Call:
    """A function to call; its name is one token, each piece of its arguments another."""

    id: str
    name: str
    pieces: Sequence[str]

    @property
    def arguments(self) -> str:
        """The arguments as JSON text; cut short when the cap was."""
        return "".join(self.pieces)


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer: pieces of text, or calls."""

    pieces: Sequence[str]
    calls: Sequence[Call]
    finish: Finish
    # The stop sequence that ended it.
    stopped: str = ""

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self.pieces)

    @property
    def tokens(self) -> int:
        """What is said, in tokens."""
        return len(self.pieces) + sum(1 + len(call.pieces) for call in self.calls)


@dataclass(frozen=True, slots=True)
class Answer:
    """All choices and what they cost."""

    choices: Sequence[Choice]
    thoughts: Sequence[str]
    tokens: Tokens


def answer(request: ParsedRequest, behaviour: Behaviour) -> Answer:
    """Compose the answer to a request."""
    effort = EFFORTS.get(request.effort, 0) if behaviour.reasoning is None else behaviour.reasoning
    hidden = _within(effort, request.cap)
    thoughts = [
        f" thought{n}" if n else "thought0"
        for n in range(_within(max(behaviour.think, request.thoughts), request.cap, hidden))
    ]
    reasoning = hidden + len(thoughts)
    left = None if request.cap is None else request.cap - reasoning
    choices = [_choice(request, behaviour, n, left) for n in range(request.choices)]
    cached = min(behaviour.cached, request.prompt_tokens)
    return Answer(
        choices,
        thoughts,
        Tokens(
            prompt_tokens=request.prompt_tokens,
            completion_tokens=sum(choice.tokens for choice in choices) + reasoning,
            cached_tokens=cached,
            cache_write_tokens=min(behaviour.write, request.prompt_tokens - cached),
            reasoning_tokens=reasoning,
        ),
    )


def _within(wanted: int, cap: int | None, used: int = 0) -> int:
    return wanted if cap is None else max(0, min(wanted, cap - used))


def _choice(request: ParsedRequest, behaviour: Behaviour, number: int, cap: int | None) -> Choice:
    if called := _called(request):
        return _calls(request, called, number, cap)
    stopped = ""
    if request.schema is not None:
        pieces = json_pieces(instance(request.schema))
    else:
        pieces = list(islice(_echo(request.question, number), behaviour.tokens))
        pieces, stopped = _stopped(pieces, request.stop)
    if cap is not None and len(pieces) > cap:
        return Choice(pieces[:cap], (), Finish.LENGTH)
    return Choice(pieces, (), Finish.CONTENT_FILTER if behaviour.filtered else Finish.STOP, stopped)


def _called(request: ParsedRequest) -> Sequence[Tool]:
    if request.forced:
        return [tool for tool in request.tools if tool.name == request.forced]
    return request.tools[: MOST_CALLS if request.parallel else 1]


def _calls(request: ParsedRequest, tools: Sequence[Tool], number: int, cap: int | None) -> Choice:
    calls, left = [], cap
    for at, tool in enumerate(tools):
        if left == 0:
            break
        pieces = json_pieces(instance(tool.schema))
        if left is not None:
            pieces = pieces[: left - 1]
            left -= 1 + len(pieces)
        calls.append(Call(f"{request.digest}{number}{at}", tool.name, pieces))
    return Choice((), calls, Finish.LENGTH if left == 0 else Finish.TOOL_CALLS)


def _echo(question: str, number: int) -> Iterator[str]:
    yield f"Echo{number or ''}"
    for word in cycle(question.split()[:64] or ["nothing"]):
        yield " " + word[:LONGEST_WORD]


def _stopped(pieces: list[str], stops: Sequence[str]) -> tuple[list[str], str]:
    """The pieces up to the first stop sequence, and that."""
    text = "".join(pieces)
    left, stop = min(((at, stop) for stop in stops if (at := text.find(stop)) >= 0), default=(len(text), ""))
    kept = []
    for piece in pieces:
        if left <= 0:
            break
        kept.append(piece[:left])
        left -= len(piece)
    return kept, stop


def json_pieces(value: Any) -> list[str]:
    """JSON text in pieces of a token each."""
    text = orjson.dumps(value).decode()
    return [text[at : at + JSON_PIECE] for at in range(0, len(text), JSON_PIECE)]


def instance(schema: Mapping[str, Any]) -> Any:
    """The smallest value that a JSON schema of the usual kinds allows; all properties are given."""
    return _instance(schema, schema, 8)


def _instance(schema: Any, root: Mapping[str, Any], depth: int) -> Any:
    if not isinstance(schema, Mapping) or depth == 0:
        return None
    if isinstance(reference := schema.get("$ref"), str):
        found: Any = root
        for step in reference.removeprefix("#/").split("/"):
            found = found.get(step) if isinstance(found, Mapping) else None
        return _instance(found, root, depth - 1)
    for word in ("anyOf", "oneOf", "allOf"):
        if isinstance(each := schema.get(word), list) and each:
            return _instance(each[0], root, depth - 1)
    if "const" in schema:
        return schema["const"]
    if isinstance(values := schema.get("enum"), list) and values:
        return values[0]
    kind = schema.get("type", "object")
    match (kind[0] if isinstance(kind, list) and kind else kind).lower():
        case "object":
            properties = schema.get("properties")
            members = properties.items() if isinstance(properties, Mapping) else ()
            return {name: _instance(member, root, depth - 1) for name, member in members}
        case "array":
            return [_instance(schema.get("items"), root, depth - 1) for _ in range(schema.get("minItems", 1))]
        case "string":
            return "text"
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
    return None
