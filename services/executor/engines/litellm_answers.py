"""LiteLLM's answers and streams as the JSON that its caller would send on."""

from collections.abc import AsyncGenerator, Callable
from typing import Any

import litellm
import openai
import orjson
from litellm.llms.vertex_ai.gemini.vertex_and_google_ai_studio_gemini import (
    ModelResponseIterator as GeminiEvents,
)

from services.executor.engines.base import Piece


def plain(answer: Any) -> dict[str, Any]:
    """A LiteLLM object as JSON would have it, without the fields that LiteLLM adds empty."""
    if isinstance(answer, dict):
        return answer
    data: dict[str, Any] = orjson.loads(answer.model_dump_json(exclude_none=True))
    for choice in data.get("choices") or ():
        parts = [choice, choice.get("message") or {}, choice.get("delta") or {}]
        for part in parts:
            if not any((part.get("provider_specific_fields") or {}).values()):
                part.pop("provider_specific_fields", None)
        if "message" in choice:
            # Null, not absent, is what OpenAI's clients expect of a message that only calls tools.
            choice["message"].setdefault("content", None)
    for part in (data, data.get("response")):
        if isinstance(part, dict) and isinstance(reported := part.get("usage"), dict):
            # LiteLLM's own idea of the cost; ours is in the report.
            reported.pop("cost", None)
    if isinstance(answer, litellm.ImageResponse) and not (data.get("usage") or {}).get("total_tokens"):
        # What LiteLLM adds where its provider reported none.
        data.pop("usage", None)
    if isinstance(answer, litellm.EmbeddingResponse) and isinstance(reported := data.get("usage"), dict):
        # Vectors have none.
        reported.pop("completion_tokens", None)
    return data


async def chunks(stream: Any) -> AsyncGenerator[Piece]:
    """The chunks of a stream of LiteLLM's; a finish that it makes up for a broken stream is left out."""
    if isinstance(stream, litellm.CustomStreamWrapper) and stream.completion_stream is None:
        await stream.fetch_stream()
    inner = getattr(stream, "completion_stream", None)
    finishes: list[Any] | None = None
    if isinstance(inner, GeminiEvents):
        finishes = []
        inner.chunk_parser = _noting(inner.chunk_parser, finishes)
    try:
        if isinstance(inner, openai.AsyncStream):
            # OpenAI's own client reads its format better than LiteLLM's wrapper, which loses choices beyond the first.
            async for chunk in inner:
                yield Piece(orjson.loads(chunk.model_dump_json(exclude_unset=True)))
            return
        async for chunk in stream:
            if isinstance(chunk, bytes | str):
                for data in _events(chunk):
                    yield Piece(data)
                continue
            data = plain(chunk)
            if isinstance(stream, litellm.CustomStreamWrapper):
                if stream.sent_last_chunk and not _ended(stream, finishes):
                    # LiteLLM made this chunk up to close a stream that its provider did not.
                    continue
                if not any(getattr(seen, "usage", None) for seen in stream.chunks):
                    # No chunk of the provider's held any: LiteLLM has counted for itself.
                    data.pop("usage", None)
            yield Piece(data)
        if isinstance(stream, litellm.CustomStreamWrapper) and _ended(stream, finishes):
            yield Piece({}, done=True)
    finally:
        for closing in (stream, inner):
            close = getattr(closing, "aclose", None) or getattr(closing, "close", None)
            if close is not None:
                await close()


def _noting(parse: Callable[[Any], Any], finishes: list[Any]) -> Callable[[Any], Any]:
    """Gemini's parser, noting the finishes that were really sent: LiteLLM makes one up for every chunk."""

    def read(chunk: Any) -> Any:
        finishes.extend(
            one["finishReason"] for one in chunk.get("candidates") or () if one.get("finishReason")
        )
        return parse(chunk)

    return read


def _ended(stream: Any, finishes: list[Any] | None) -> bool:
    """Whether the provider itself said why it stopped."""
    if finishes is not None:
        return bool(finishes)
    return stream.received_finish_reason is not None or stream.intermittent_finish_reason is not None


def _events(text: bytes | str) -> list[dict[str, Any]]:
    """The data of server-sent events, as LiteLLM hands on Anthropic's."""
    lines = (text if isinstance(text, str) else text.decode()).splitlines()
    return [
        orjson.loads(line[5:]) for line in lines if line.startswith("data:") and line[5:].strip() != "[DONE]"
    ]
