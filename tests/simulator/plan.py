"""What will be sent for a request, before any of it is."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import orjson

from tests.simulator.behaviour import Behaviour
from tests.simulator.counts import Tokens
from tests.simulator.request import ParsedRequest, Request

JSON = ("content-type", "application/json")
EVENTS = ("content-type", "text/event-stream; charset=utf-8")
HTML = ("content-type", "text/html; charset=utf-8")

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes and the completion tokens that they carry."""

    data: bytes
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error response."""

    status: int
    body: bytes
    headers: Headers = (JSON,)

    def adding(self, headers: Headers) -> "Refusal":
        """The same with more headers."""
        return replace(self, headers=[*self.headers, *headers])


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole answer: one body, or the events of a stream."""

    parts: Sequence[Part]
    tokens: Tokens
    headers: Headers = ()

    def adding(self, headers: Headers) -> "Plan":
        """The same with more headers."""
        return replace(self, headers=[*self.headers, *headers])


class Format(Protocol):
    """One provider's way to write one operation."""

    def read(self, request: Request) -> ParsedRequest:
        """Understand a request; KeyError, TypeError and ValueError make it a 400."""

    def whole(self, request: ParsedRequest, behaviour: Behaviour) -> Plan:
        """The answer as one body."""

    def stream(self, request: ParsedRequest, behaviour: Behaviour) -> Plan:
        """The answer as events."""

    def refusal(self, status: int, kind: str, retry: float | None, request: ParsedRequest) -> Refusal:
        """An error response in the provider's shape; `kind` is context, policy, quota or a message."""

    def limits(self, total: int, remaining: int) -> Headers:
        """The headers that show a limit of requests."""

    def error_event(self) -> bytes:
        """An error inside a stream."""

    def error_body(self) -> bytes:
        """An error in a body that calls itself a success."""


def dump(value: Any) -> bytes:
    """JSON."""
    return orjson.dumps(value)


def parsed(text: str) -> Any:
    """The object that a JSON text spells; an empty one when the text was cut short."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}


def event(value: Any, name: str = "") -> bytes:
    """A server-sent event."""
    head = f"event: {name}\n".encode() if name else b""
    return head + b"data: " + orjson.dumps(value) + b"\n\n"
