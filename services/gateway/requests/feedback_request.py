"""Verdicts on answers as callers send them: one, or a list of them, in Portkey's shape."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from services.chassis import json_bounds
from services.chassis.bounds import METADATA
from services.chassis.errors import Invalid
from services.gateway.requests.hints import NAME

LARGEST = 10
# Of one call; each counts as a request.
MOST = 100
FIELDS = ("request_id", "trace_id", "value", "weight", "metadata")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a user thinks of an answer, which is named by its request or by its trace.

    Attributes:
        value: From -10 (useless) to 10 (perfect).
        request_id: The x-request-id of the answer; empty where the trace is named.
        trace_id: The x-portkey-trace-id that the caller gave, or the x-lumni-trace-id of the answer.
        weight: How much it counts, 0 to 1.
        metadata: What the caller notes about it.

    """

    value: int
    request_id: str = ""
    trace_id: str = ""
    weight: float = 1.0
    metadata: Mapping[str, str] = field(default_factory=dict)


def parse(text: bytes, *, request_id: str = "") -> list[Verdict]:
    """The verdicts of a body.

    Args:
        text: JSON.
        request_id: The answer, where the path names it.

    Raises:
        Invalid: names the field and what is expected there.
    """
    json_bounds.check(text)
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Invalid(f"the body is not valid JSON: {error}", reason="INVALID_JSON") from error
    if not isinstance(body, list):
        return [_verdict(body, "", request_id)]
    if request_id or not 0 < len(body) <= MOST:
        raise Invalid(f"the body: expected an object, or on POST a list of 1 to {MOST}")
    return [_verdict(one, f"[{i}].", "") for i, one in enumerate(body)]


def _verdict(given: Any, place: str, request_id: str) -> Verdict:
    body = given if isinstance(given, dict) else {}
    for name in body:
        if name not in FIELDS or (request_id and name in ("request_id", "trace_id")):
            raise Invalid(
                f"{place}{name[:64]}: unknown; expected {', '.join(FIELDS)}", param=f"{place}{name[:64]}"
            )
    ident, trace = request_id or body.get("request_id"), body.get("trace_id")
    if (ident is None) == (trace is None):
        raise Invalid(
            f"{place}request_id: expected the x-request-id of the answer, or its trace as trace_id",
            param=f"{place}request_id",
        )
    for name, value in (("request_id", ident), ("trace_id", trace)):
        if value is not None and not (isinstance(value, str) and NAME.fullmatch(value)):
            raise Invalid(f"{place}{name}: expected a short text", param=f"{place}{name}")
    value = body.get("value")
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > LARGEST:
        raise Invalid(
            f"{place}value: expected a whole number from -{LARGEST} to {LARGEST}", param=f"{place}value"
        )
    weight = body.get("weight", 1.0)
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight <= 1:
        raise Invalid(f"{place}weight: expected a number from 0 to 1", param=f"{place}weight")
    return Verdict(
        value, ident or "", trace or "", float(weight), _metadata(body.get("metadata"), f"{place}metadata")
    )


def _metadata(given: Any, place: str) -> dict[str, str]:
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise Invalid(f"{place}: expected an object", param=place)
    found = {
        name: value if isinstance(value, str) else orjson.dumps(value).decode()
        for name, value in given.items()
    }
    if expected := METADATA.mistake(found):
        raise Invalid(f"{place}: {expected}", param=place)
    return found
