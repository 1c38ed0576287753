"""The simple routes' bodies: a prompt or messages, and little else, made a chat completion."""

from collections.abc import Mapping
from typing import Any

import orjson

from services.chassis.errors import Invalid
from services.chassis.hosted_tools import NOTHING, Allowed
from services.gateway.requests import chat_request, fields
from services.gateway.requests.model_request import ModelRequest

# What both take beside what they ask.
_COMMON = ("model", "max_tokens", "temperature", "user", "lumni")
_OF_PROMPT = ("prompt", "system", *_COMMON)
_OF_MESSAGES = ("messages", *_COMMON)


def of_prompt(text: bytes | str, *, allowed: Allowed = NOTHING) -> ModelRequest:
    """Read and validate `{prompt, system, ...}`.

    Args:
        text: JSON.
        allowed: What the caller's plan allows beside function tools, none of which can be asked for here.

    Raises:
        Invalid: names the field and what is expected there.
    """
    body = _read(text, _OF_PROMPT)
    prompt = fields.typed(body, "prompt", str, "a text")
    if not prompt:
        raise Invalid("prompt: expected a text that is not empty", param="prompt")
    system = fields.typed(body, "system", str, "a text")
    messages = [{"role": "system", "content": system}] if system else []
    return _as_chat(body, [*messages, {"role": "user", "content": prompt}], allowed)


def of_messages(text: bytes | str, *, allowed: Allowed = NOTHING) -> ModelRequest:
    """Read and validate `{messages, ...}`, the messages as in a chat completion.

    Args:
        text: JSON.
        allowed: As in `of_prompt`.

    Raises:
        Invalid: names the field and what is expected there.
    """
    body = _read(text, _OF_MESSAGES)
    return _as_chat(body, body.get("messages"), allowed)


def _read(text: bytes | str, known: tuple[str, ...]) -> dict[str, Any]:
    body = fields.read(text)
    for name in body:
        if name not in known:
            # Another one may change the answer into what these routes cannot show, as `n` and `tools` do.
            raise Invalid(
                f"{name[:100]}: expected only {', '.join(known)}; /v1/chat/completions takes all of OpenAI's fields",
                param=name[:100],
            )
    return body


def _as_chat(body: Mapping[str, Any], messages: Any, allowed: Allowed) -> ModelRequest:
    common = {name: body[name] for name in _COMMON if name in body}
    return chat_request.parse(orjson.dumps({**common, "messages": messages}), allowed=allowed)
