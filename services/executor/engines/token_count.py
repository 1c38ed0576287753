"""Tokens that no provider reported, counted with the tokenizer that LiteLLM knows for the model."""

from collections.abc import Mapping
from typing import Any

import litellm

from services.executor.engines.base import Call
from services.executor.engines.usage import Usage

# What a picture is taken for: OpenAI's for one of 1024 x 1024 in high detail.
PICTURE_TOKENS = 765
# What is counted of a text, in characters: a few milliseconds' work.
COUNTED_CHARS = 20_000
_PROMPT = ("messages", "input", "prompt", "instructions", "system", "tools", "functions")
_NOT_TEXT = frozenset(
    ("image_url", "input_image", "image", "input_audio", "file", "input_file", "document", "video_url")
)


def estimate(call: Call, text: str) -> Usage:
    """Count the tokens of a call's prompt and of `text`, its answer; never fails."""
    model = call.deployment.base_model or call.deployment.litellm_model
    texts, others = _parts(call.body)
    prompt = _count(model, "\n".join(texts)) + others * PICTURE_TOKENS
    return Usage(prompt_tokens=prompt, completion_tokens=_count(model, text))


def _parts(body: Mapping[str, Any]) -> tuple[list[str], int]:
    """The texts of a prompt, and how many pictures and the like it holds."""
    texts: list[str] = []
    others = 0
    unread = [body.get(name) for name in _PROMPT]
    while unread:
        part = unread.pop()
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, list):
            unread += part
        elif isinstance(part, Mapping):
            kind = part.get("type")
            # A schema's property of that name may be anything.
            if isinstance(kind, str) and kind in _NOT_TEXT:
                others += 1
            else:
                unread += part.values()
    return texts, others


def _count(model: str, text: str) -> int:
    """Tokens of a text; a long one is counted in part, as the tokenizer stops everything else meanwhile."""
    if not text:
        return 0
    sample = text[:COUNTED_CHARS]
    try:
        counted = int(litellm.token_counter(model=model, text=sample))
    except Exception:  # noqa: BLE001  (a tokenizer fails in its own ways, and a bill must not be lost for it)
        # No token is shorter than a byte.
        return len(text.encode("utf-8", "replace"))
    return counted * len(text) // len(sample)
