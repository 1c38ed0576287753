"""Reads the JSON body of a call: its size, its shape, and single fields of it, each mistake named by its field."""

from collections.abc import Collection
from typing import Any

import orjson

from services.chassis import json_bounds
from services.chassis.candidates import UNPINNED
from services.chassis.errors import Invalid
from services.gateway.requests.hints import NAME

# Counts that nobody needs more of; OpenAI's own are 128 tools and 4 stops.
MAX_FIELDS = 256
MAX_TOOLS = 1024
MAX_STOPS = 64
MAX_CHOICES = 128
# The longest name of a tool, in characters; OpenAI's is 64. All names go to the classifier.
MAX_TOOL_NAME = 256


def read(
    text: bytes | str,
    *,
    not_here: Collection[str] = (),
    most_values: int = json_bounds.MAX_VALUES,
) -> dict[str, Any]:
    """The object that a body is.

    Args:
        text: JSON.
        not_here: Fields that mean nothing here: passing them on would promise what does not happen.
        most_values: How many values the whole may hold.

    Raises:
        Invalid: it is none, holds too much, or has a field that is not supported here.
    """
    json_bounds.check(text if isinstance(text, bytes) else text.encode("utf-8", "replace"), most_values)
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Invalid(f"the body is not valid JSON: {error}", reason="INVALID_JSON") from error
    if not isinstance(body, dict):
        raise Invalid("the body must be a JSON object", reason="INVALID_JSON")
    if len(body) > MAX_FIELDS:
        raise Invalid(f"the body has more than {MAX_FIELDS} fields; send fewer")
    for name in not_here:
        if name in body:
            raise Invalid(f"{name}: this field is not supported here; leave it out", param=name)
    return body


def model(body: dict[str, Any]) -> str:
    """The model that is asked for; auto where the body names none."""
    name: str = typed(body, "model", str, "a text") or "auto"
    if not NAME.fullmatch(name):
        raise Invalid("model: expected at most 256 printable characters", param="model")
    return name


def named_model(body: dict[str, Any], kind: str) -> str:
    """The model that is asked for, of a kind of which none is chosen for the caller."""
    name = model(body)
    if name in UNPINNED:
        raise Invalid(f"model: name {kind}; GET /v1/models lists what there is", param="model")
    return name


def streamed(body: dict[str, Any]) -> bool:
    """Whether the body asks for a stream."""
    return typed(body, "stream", bool, "true or false") or False


def typed(body: dict[str, Any], name: str, kind: type, expected: str) -> Any:
    """A field of a JSON type; None where it is absent or null."""
    value = body.get(name)
    if value is not None and not isinstance(value, kind):
        raise Invalid(f"{name}: expected {expected}", param=name)
    return value


def one_of(body: dict[str, Any], name: str, known: Collection[str]) -> None:
    """Refuse a field that is given and none of the known words."""
    if body.get(name) not in (None, *known):
        raise Invalid(f"{name}: expected one of {', '.join(known)}", param=name)


def check_number(body: dict[str, Any], name: str, low: float, high: float) -> None:
    """Refuse a field that is given and no number within bounds."""
    value = body.get(name)
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise Invalid(f"{name}: expected a number from {low:g} to {high:g}", param=name)


def whole(body: dict[str, Any], name: str, low: int, high: int = 2**31) -> int | None:
    """A field that is a whole number within bounds; None where it is absent or null."""
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise Invalid(f"{name}: expected a whole number from {low} to {high}", param=name)
    return value


def tool_name(name: str, field: str) -> str:
    """The name of a tool, unless it is too long; `field` is where it stands."""
    if len(name) > MAX_TOOL_NAME:
        raise Invalid(f"{field}: expected at most {MAX_TOOL_NAME} characters", param=field)
    return name


def at_most(value: Any, most: int, name: str) -> None:
    """Refuse a list that is too long."""
    if isinstance(value, list) and len(value) > most:
        raise Invalid(f"{name}: expected at most {most}", param=name)
