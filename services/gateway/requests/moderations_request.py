"""OpenAI's moderations: texts and pictures to judge."""

from typing import Any

from services.chassis import hosted_tools
from services.chassis.errors import Invalid
from services.chassis.hosted_tools import NOTHING, Allowed
from services.chassis.operations import Operation
from services.gateway.requests import cache_control, fields, hints, inputs, prompt_size
from services.gateway.requests.model_request import ModelRequest

MAX_INPUTS = 2048
PARTS = ("text", "image_url")


def parse(text: bytes | str, *, allowed: Allowed = NOTHING) -> ModelRequest:
    """Read and validate the body of a moderation.

    Args:
        text: JSON.
        allowed: What the caller's plan allows beside function tools.

    Raises:
        Invalid: names the field and what is expected there.
    """
    body = fields.read(text)
    own = body.pop("lumni", None)
    cache = cache_control.parse(body.pop("cache", None))
    hosted_tools.check(body, allowed=allowed)
    bound, likely, longest = _measure(body)
    return ModelRequest(
        operation=Operation.MODERATIONS,
        body=body,
        model=fields.model(body),
        prompt_tokens=bound,
        likely_prompt_tokens=likely,
        window_tokens=longest,
        hints=hints.parse(own),
        cache=cache,
    )


def _measure(body: dict[str, Any]) -> tuple[int, int, int]:
    """An upper bound of the input in tokens, an estimate of it, and of the longest that is judged at once."""
    given = body.get("input")
    if not isinstance(given, list) or not any(isinstance(part, dict) for part in given):
        size = inputs.measure(body, "input", MAX_INPUTS)
        return size.bound, size.likely, size.longest
    fields.at_most(given, MAX_INPUTS, "input")
    for i, part in enumerate(given):
        if not isinstance(part, dict) or part.get("type") not in PARTS:
            raise Invalid(f"input[{i}].type: expected one of {', '.join(PARTS)}", param=f"input[{i}].type")
        if part["type"] == "text" and not isinstance(part.get("text"), str):
            raise Invalid(f"input[{i}].text: expected a text", param=f"input[{i}].text")
        if part["type"] == "image_url" and not isinstance(part.get("image_url"), dict):
            raise Invalid(f"input[{i}].image_url: expected an object", param=f"input[{i}].image_url")
    bound, likely = prompt_size.measure([{"role": "user", "content": given}])
    return bound, likely, likely
