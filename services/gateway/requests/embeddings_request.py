"""OpenAI's embeddings: texts to turn into vectors, by a model that the caller names."""

from services.chassis import hosted_tools, json_bounds
from services.chassis.candidates import UNPINNED
from services.chassis.errors import Invalid
from services.chassis.hosted_tools import NOTHING, Allowed
from services.chassis.operations import Operation
from services.gateway.requests import cache_control, fields, hints, inputs, prompt_size
from services.gateway.requests.model_request import ModelRequest

# OpenAI's own limits.
MAX_INPUTS = 2048
MAX_DIMENSIONS = 65_536
ENCODINGS = ("float", "base64")
NOT_PROMPT = frozenset(("input", "model", "user", "encoding_format"))


def parse(text: bytes | str, *, allowed: Allowed = NOTHING) -> ModelRequest:
    """Read and validate the body of a request for embeddings.

    Args:
        text: JSON.
        allowed: What the caller's plan allows beside function tools.

    Raises:
        Invalid: names the field and what is expected there.
    """
    body = fields.read(text, most_values=json_bounds.MAX_NUMBERS)
    own = body.pop("lumni", None)
    cache = cache_control.parse(body.pop("cache", None))
    hosted_tools.check(body, allowed=allowed)
    model = fields.model(body)
    if model in UNPINNED:
        raise Invalid(
            "model: name an embedding model, as vectors of different models cannot be compared; "
            "GET /v1/models lists what there is",
            param="model",
        )
    if fields.streamed(body):
        raise Invalid("stream: embeddings are not streamed; leave it out", param="stream")
    fields.whole(body, "dimensions", 1, MAX_DIMENSIONS)
    fields.one_of(body, "encoding_format", ENCODINGS)
    size = inputs.measure(body, "input", MAX_INPUTS)
    extra, likely_extra = prompt_size.of_fields(body, NOT_PROMPT)
    return ModelRequest(
        operation=Operation.EMBEDDINGS,
        body=body,
        model=model,
        prompt_tokens=size.bound + extra,
        likely_prompt_tokens=size.likely + likely_extra,
        window_tokens=size.longest,
        hints=hints.parse(own),
        cache=cache,
    )
