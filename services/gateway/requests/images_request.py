"""OpenAI's pictures: a text to draw, by a model that the caller names."""

import re
from typing import Any

from services.chassis import hosted_tools
from services.chassis.errors import Invalid
from services.chassis.hosted_tools import NOTHING, Allowed
from services.chassis.operations import Operation
from services.chassis.unit_prices import Units
from services.gateway.requests import fields, hints, prompt_size
from services.gateway.requests.model_request import ModelRequest

# OpenAI's own limits.
MAX_IMAGES = 10
MAX_PROMPT = 32_000
FORMATS = ("url", "b64_json")
# An upper bound of what a picture takes where it is billed by tokens: OpenAI's take at most one for 252 pixels, and
# some text may be written beside them.
PIXELS_PER_TOKEN, BESIDE_TOKENS = 250, 1024
# Pictures that show what one looks like so far, and the tokens that each of them takes at OpenAI.
MAX_PARTIAL, PARTIAL_TOKENS = 3, 100
# The largest that a model chooses for itself, and the largest that may be asked for, in pixels.
USUAL_PIXELS, MOST_PIXELS = 1536 * 1024, 4096 * 4096
_SIZE = re.compile(r"(\d{2,5})x(\d{2,5})")
_WORDS = ("quality", "size", "background", "moderation", "output_format", "style", "user")
NOT_PROMPT = frozenset(("prompt", "model", "response_format", *_WORDS))


def parse(text: bytes | str, *, allowed: Allowed = NOTHING) -> ModelRequest:
    """Read and validate the body of a request for pictures.

    Args:
        text: JSON.
        allowed: What the caller's plan allows beside function tools.

    Raises:
        Invalid: names the field and what is expected there.
    """
    body = fields.read(text)
    own = body.pop("lumni", None)
    hosted_tools.check(body, operation=Operation.IMAGE_GENERATION, allowed=allowed)
    model = fields.named_model(body, "an image model")
    stream = fields.streamed(body)
    partial = fields.whole(body, "partial_images", 0, MAX_PARTIAL) or 0
    if partial and not stream:
        raise Invalid("partial_images: these come in a stream; set stream to true", param="partial_images")
    prompt = fields.typed(body, "prompt", str, "a text")
    if not prompt or len(prompt) > MAX_PROMPT:
        raise Invalid(f"prompt: expected a text of 1 to {MAX_PROMPT} characters", param="prompt")
    fields.one_of(body, "response_format", FORMATS)
    for name in _WORDS:
        fields.typed(body, name, str, "a text")
    fields.whole(body, "output_compression", 0, 100)
    count = fields.whole(body, "n", 1, MAX_IMAGES) or 1
    if stream and count > 1:
        raise Invalid("n: a stream holds one picture; leave n or stream out", param="n")
    bound, likely = prompt_size.of_text(prompt)
    extra, likely_extra = prompt_size.of_fields(body, NOT_PROMPT)
    return ModelRequest(
        operation=Operation.IMAGE_GENERATION,
        body=body,
        model=model,
        stream=stream,
        output_tokens=_pixels(body) // PIXELS_PER_TOKEN + BESIDE_TOKENS + partial * PARTIAL_TOKENS,
        choices=count,
        units=Units(images=count, image="/".join(body.get(name) or "" for name in ("quality", "size"))),
        prompt_tokens=bound + extra,
        likely_prompt_tokens=max(1, likely) + likely_extra,
        hints=hints.parse(own),
    )


def _pixels(body: dict[str, Any]) -> int:
    """How large a picture may become."""
    size = body.get("size") or "auto"
    if size == "auto":
        return USUAL_PIXELS
    given = _SIZE.fullmatch(size)
    if given is None or int(given[1]) * int(given[2]) > MOST_PIXELS:
        raise Invalid(
            f"size: expected auto, or width and height as in 1024x1024, together at most {MOST_PIXELS} pixels",
            param="size",
        )
    return int(given[1]) * int(given[2])
