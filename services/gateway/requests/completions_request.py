"""OpenAI's legacy completions: a text, or several, to go on with."""

from typing import Any

from lumni.chat.v1 import chat_pb2

from services.chassis import hosted_tools
from services.chassis.errors import Invalid
from services.chassis.hosted_tools import NOTHING, Allowed
from services.chassis.operations import Operation
from services.gateway.requests import cache_control, decision_text, fields, hints, inputs, prompt_size
from services.gateway.requests.model_request import ModelRequest

# OpenAI's own limit is below.
MAX_PROMPTS = 128
# What OpenAI documents for a request that sets none.
DEFAULT_OUTPUT_TOKENS = 16
NOT_PROMPT = frozenset(("prompt", "model", "stream_options", "user"))


def parse(text: bytes | str, *, allowed: Allowed = NOTHING) -> ModelRequest:
    """Read and validate the body of a completion.

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
    stream = fields.streamed(body)
    if body.get("stream_options") is not None and not stream:
        raise Invalid("stream_options: only allowed when stream is true", param="stream_options")
    fields.typed(body, "stream_options", dict, "an object")
    fields.typed(body, "echo", bool, "true or false")
    fields.check_number(body, "temperature", 0, 2)
    fields.check_number(body, "top_p", 0, 1)
    fields.check_number(body, "frequency_penalty", -2, 2)
    fields.check_number(body, "presence_penalty", -2, 2)
    fields.at_most(body.get("stop"), fields.MAX_STOPS, "stop")
    body["stream"] = stream
    body["max_tokens"] = fields.whole(body, "max_tokens", 1) or DEFAULT_OUTPUT_TOKENS
    size = inputs.measure(body, "prompt", MAX_PROMPTS)
    extra, likely_extra = prompt_size.of_fields(body, NOT_PROMPT)
    answers = fields.whole(body, "n", 1, fields.MAX_CHOICES) or 1
    # A provider bills every answer that it chooses the best ones of.
    drafts = fields.whole(body, "best_of", 1, fields.MAX_CHOICES) or 1
    return ModelRequest(
        operation=Operation.COMPLETIONS,
        body=body,
        model=fields.model(body),
        messages=_messages(body["prompt"]),
        stream=stream,
        output_tokens=body["max_tokens"],
        choices=max(answers, drafts) * size.count,
        prompt_tokens=size.bound + extra,
        likely_prompt_tokens=size.likely + likely_extra,
        window_tokens=size.longest + likely_extra,
        hints=hints.parse(own),
        cache=cache,
    )


def _messages(prompt: Any) -> list[chat_pb2.Message]:
    """The texts as a user's messages; token numbers say nothing to a classifier."""
    texts = [prompt] if isinstance(prompt, str) else [text for text in prompt if isinstance(text, str)]
    return decision_text.shortened([{"role": "user", "content": text} for text in texts])
