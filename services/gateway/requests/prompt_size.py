"""How many tokens a prompt has, counted without a tokenizer: an upper bound, and what is likely."""

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
            size = len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
            bound += size
            likely += int(len(text) / LIKELY_CHARS_PER_TOKEN if text.isascii() else size / 2)
    return bound, max(1, likely)


def json_bytes(part: Any) -> int:
    """The length of a value as JSON, in bytes."""
    return len(orjson.dumps(part))
