"""The answer of a chat completion in short: its text, and what it took."""

from dataclasses import dataclass
from typing import Any

import orjson

from services.gateway.pipeline.pipeline import Answer


@dataclass(frozen=True, slots=True)
class SimpleAnswer:
    """What the simple routes show.

    Args:
        text: What the model said; empty when it said nothing.
        model: The one that answered.
        usage: Its tokens, in OpenAI's words.
        lumni: What was decided, and what it cost.

    """

    text: str
    model: str
    usage: dict[str, Any] | None
    lumni: dict[str, Any]


def of(answer: Answer) -> SimpleAnswer:
    """What a chat completion with one choice says."""
    body = orjson.loads(answer.body)
    return SimpleAnswer(
        text=body["choices"][0]["message"].get("content") or "",
        model=body["model"],
        usage=body.get("usage"),
        lumni=body["lumni"],
    )
