"""What callers note about a request beside its body: Portkey's trace id and metadata. It is recorded with the usage."""

from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

import orjson

from services.chassis.bounds import METADATA
from services.chassis.errors import Invalid

# Of the request that is being answered.
noted: ContextVar[Mapping[str, str]] = ContextVar("noted", default=MappingProxyType({}))
# The name of the trace id among the rest.
TRACE_ID = "trace_id"
# The name of the version of a stored prompt, which Lumni notes itself.
PROMPT = "prompt"


def parse(trace_id: str, metadata: str) -> dict[str, str]:
    """Both as one mapping.

    Args:
        trace_id: The header x-portkey-trace-id.
        metadata: The header x-portkey-metadata, a JSON object of texts, numbers and flags.

    Raises:
        Invalid: a header that is no such object, or longer than what is recorded.
    """
    if not (trace_id or metadata):
        return {}
    found = {name: _text(name, value) for name, value in _object(metadata or "{}").items()}
    if trace_id:
        found[TRACE_ID] = trace_id
    if expected := METADATA.mistake(found):
        raise Invalid(f"x-portkey-metadata: {expected}", param="x-portkey-metadata")
    return found


def with_prompt(prompt: str) -> dict[str, str]:
    """What was noted about the request that is being answered, and the version of a prompt that it names."""
    return {**noted.get(), PROMPT: prompt} if prompt else dict(noted.get())


def _object(metadata: str) -> dict[str, Any]:
    try:
        value = orjson.loads(metadata.encode("latin-1"))
    except orjson.JSONDecodeError as error:
        raise Invalid(f"x-portkey-metadata: is no JSON: {error}", param="x-portkey-metadata") from error
    if not isinstance(value, dict):
        raise Invalid("x-portkey-metadata: expected a JSON object", param="x-portkey-metadata")
    return value


def _text(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return orjson.dumps(value).decode()
    raise Invalid(
        f"x-portkey-metadata.{name[:64]}: expected a text, a number, true or false",
        param="x-portkey-metadata",
    )
