"""Tokens, as each format reports them, in one form: the parts lie within the totals, and nothing counts twice."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

# The most that is believed of a count: far beyond any context window, and its cost fits into 64 bits at any price.
MOST = 2**34
# The same of searches, which may cost more than a token.
MOST_SEARCHES = 2**20


@dataclass(frozen=True, slots=True)
class Usage:
    """What an attempt consumed, in tokens and searches; the meaning of each field is lumni.executor.v1.Usage's."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    audio_prompt_tokens: int = 0
    audio_completion_tokens: int = 0
    cache_write_1h_tokens: int = 0
    web_searches: int = 0
    image_completion_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(*(getattr(self, item.name) + getattr(other, item.name) for item in fields(Usage)))


def _number(part: Any, *names: str) -> int:
    """The first of several names that holds a count; a negative or absent one is none, one beyond belief the most."""
    if not isinstance(part, Mapping):
        return 0
    for name in names:
        value = part.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
            return int(min(value, MOST))
    return 0


def from_chat(reported: Mapping[str, Any]) -> Usage:
    """Read the usage of OpenAI's chat completions, completions and embeddings, or of a provider in that format.

    Sources: OpenAI (cached tokens lie within the prompt, reasoning within the completion), DeepSeek
    (`prompt_cache_hit_tokens` within the prompt), LiteLLM's translation of Anthropic and Gemini (whose disjoint
    counts it has added up: prompt_tokens holds cache reads and writes, completion_tokens the thoughts).
    """
    input_details = reported.get("prompt_tokens_details")
    output_details = reported.get("completion_tokens_details")
    cache_writes = (
        input_details.get("cache_creation_token_details") if isinstance(input_details, Mapping) else None
    )
    prompt = _number(reported, "prompt_tokens")
    completion = _number(reported, "completion_tokens")
    hour = _number(cache_writes, "ephemeral_1h_input_tokens")
    return _bounded(
        prompt=prompt,
        completion=completion,
        cached=_number(input_details, "cached_tokens") or _number(reported, "prompt_cache_hit_tokens"),
        written=_number(input_details, "cache_creation_tokens", "cache_write_tokens")
        or _number(reported, "cache_creation_input_tokens"),
        hour=hour,
        reasoning=_number(output_details, "reasoning_tokens"),
        audio_in=_number(input_details, "audio_tokens"),
        audio_out=_number(output_details, "audio_tokens"),
        searches=_searches(reported),
    )


def from_messages(reported: Mapping[str, Any]) -> Usage:
    """Read the usage of Anthropic's messages, where input_tokens holds neither cache reads nor writes."""
    cached = _number(reported, "cache_read_input_tokens")
    written = _number(reported, "cache_creation_input_tokens")
    return _bounded(
        prompt=_number(reported, "input_tokens") + cached + written,
        completion=_number(reported, "output_tokens"),
        cached=cached,
        written=written,
        hour=_number(reported.get("cache_creation"), "ephemeral_1h_input_tokens"),
        reasoning=0,
        audio_in=0,
        audio_out=0,
        searches=_searches(reported),
    )


def from_responses(reported: Mapping[str, Any]) -> Usage:
    """Read the usage of OpenAI's responses."""
    input_details, output_details = (
        reported.get("input_tokens_details"),
        reported.get("output_tokens_details"),
    )
    return _bounded(
        prompt=_number(reported, "input_tokens"),
        completion=_number(reported, "output_tokens"),
        cached=_number(input_details, "cached_tokens"),
        written=_number(input_details, "cache_write_tokens"),
        hour=0,
        reasoning=_number(output_details, "reasoning_tokens"),
        audio_in=_number(input_details, "audio_tokens"),
        audio_out=_number(output_details, "audio_tokens"),
        searches=0,
    )


def from_images(reported: Mapping[str, Any]) -> Usage:
    """Read the usage of OpenAI's pictures, whose output is pictures but for the part that is said to be text."""
    read = from_responses(reported)
    text = _number(reported.get("output_tokens_details"), "text_tokens")
    others = read.reasoning_tokens + read.audio_completion_tokens + text
    return replace(read, image_completion_tokens=max(0, read.completion_tokens - others))


def from_speech(reported: Mapping[str, Any]) -> Usage:
    """Read the usage of OpenAI's streamed speech, whose output is sound."""
    read = from_responses(reported)
    return replace(read, audio_completion_tokens=read.completion_tokens)


def from_transcription(reported: Mapping[str, Any]) -> Usage:
    """Read the usage of OpenAI's transcriptions, where it is in tokens."""
    return from_responses({**reported, "input_tokens_details": reported.get("input_token_details")})


def _searches(reported: Mapping[str, Any]) -> int:
    """Anthropic's count of its searches of the web, which LiteLLM's translation keeps."""
    return min(MOST_SEARCHES, _number(reported.get("server_tool_use"), "web_search_requests"))


def _bounded(
    *,
    prompt: int,
    completion: int,
    cached: int,
    written: int,
    hour: int,
    reasoning: int,
    audio_in: int,
    audio_out: int,
    searches: int,
) -> Usage:
    # A part never exceeds what is left of its whole: a provider's overlapping counts must not be paid twice.
    cached = min(cached, prompt)
    written = min(written, prompt - cached)
    audio_in = min(audio_in, prompt - cached - written)
    reasoning = min(reasoning, completion)
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        cached_tokens=cached,
        cache_write_tokens=written,
        reasoning_tokens=reasoning,
        audio_prompt_tokens=audio_in,
        audio_completion_tokens=min(audio_out, completion - reasoning),
        cache_write_1h_tokens=min(hour, written),
        web_searches=searches,
    )
