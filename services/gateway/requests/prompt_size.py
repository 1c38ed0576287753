"""How many tokens a prompt has, counted without a tokenizer: an upper bound, and what is likely."""

from collections.abc import Collection, Mapping
from typing import Any

import orjson

# Upper bounds in tokens of what is not text, over the tokenizers of the providers that publish theirs.
IMAGE_TOKENS = 8192
AUDIO_BYTES_PER_TOKEN = 100
FILE_BYTES_PER_TOKEN = 2
MESSAGE_TOKENS = 16
# One token of a byte-level tokenizer is at least one byte; in ordinary text it is about four characters.
LIKELY_CHARS_PER_TOKEN = 3.5


def measure(messages: list[dict[str, Any]]) -> tuple[int, int]:
    """An upper bound of the prompt in tokens, and what it will probably take."""
    bound = likely = 0
    for message in messages:
        bound += MESSAGE_TOKENS
        likely += MESSAGE_TOKENS // 4
        content = message.get("content")
        rest = {key: value for key, value in message.items() if key not in ("role", "content")}
        texts = [content] if isinstance(content, str) else []
        if rest:
            texts.append(orjson.dumps(rest).decode("utf-8", "replace"))
        for part in content if isinstance(content, list) else ():
            if part["type"] in ("text", "refusal"):
                texts.append(part[part["type"]])
            elif part["type"] == "image_url":
                bound += IMAGE_TOKENS
                likely += IMAGE_TOKENS // 8
            elif part["type"] == "input_audio":
                bound += json_bytes(part) // AUDIO_BYTES_PER_TOKEN + 1
                likely += json_bytes(part) // AUDIO_BYTES_PER_TOKEN // 4
            else:
                bound += json_bytes(part) // FILE_BYTES_PER_TOKEN + 1
                likely += json_bytes(part) // FILE_BYTES_PER_TOKEN // 8
        for text in texts:
            size, tokens = of_text(text)
            bound += size
            likely += tokens
    return bound, max(1, likely)


def of_text(text: str) -> tuple[int, int]:
    """An upper bound of a text in tokens, and what it will probably take."""
    if text.isascii():
        return len(text), int(len(text) / LIKELY_CHARS_PER_TOKEN)
    size = len(text.encode("utf-8", "replace"))
    return size, size // 2


def of_fields(body: Mapping[str, Any], apart: Collection[str]) -> tuple[int, int]:
    """The same of all that a provider may read as a part of the prompt beside the fields that are `apart`."""
    bound = sum(
        json_bytes(value)
        for name, value in body.items()
        if name not in apart and isinstance(value, dict | list | str)
    )
    return bound, int(bound / LIKELY_CHARS_PER_TOKEN)


def json_bytes(part: Any) -> int:
    """The length of a value as JSON, in bytes."""
    return len(orjson.dumps(part))
