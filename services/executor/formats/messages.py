"""Answers of Anthropic's messages, passed on as they come: one object, or the typed events of a stream."""

from collections.abc import Iterator, Mapping
from typing import Any

from services.executor.engines import provider_errors
from services.executor.engines.base import Piece
from services.executor.engines.usage import from_messages
from services.executor.formats.base import Chunk, ResponseFormat, dump, malformed


class MessagesFormat(ResponseFormat):
    """Content blocks, or events about them."""

    def __init__(self, model: str) -> None:
        super().__init__(model)
        self._reported: dict[str, Any] = {}

    def whole(self, piece: Piece) -> Chunk:
        """The answer, under the public name of the model."""
        content = piece.data.get("content")
        if not isinstance(content, list):
            raise malformed("content")
        for block in content:
            self.texts.extend(_block_texts(block))
        self._read_usage(piece.data.get("usage"))
        self.complete = True
        return Chunk(self._text(piece, edited=self._set_model(piece.data)))

    def chunk(self, piece: Piece) -> list[Chunk]:
        """The event, as it is but for the model's name."""
        data = piece.data
        if not data:
            return []
        kind = data.get("type")
        edited = finishes = False
        if kind == "message_start" and isinstance(message := data.get("message"), dict):
            edited = self._set_model(message)
            self._read_usage(message.get("usage"))
        elif kind == "content_block_delta":
            self.texts.extend(_block_texts(data.get("delta") or {}))
        elif kind == "message_delta":
            finishes = bool((data.get("delta") or {}).get("stop_reason"))
            self._read_usage(data.get("usage"))
        elif kind == "message_stop":
            self.complete = True
        elif kind == "error":
            raise provider_errors.from_object(data.get("error") or {})
        return [Chunk(self._text(piece, edited=edited), finishes)]

    def _read_usage(self, reported: Any) -> None:
        if isinstance(reported, dict):
            self.service_tier = str(reported.get("service_tier") or self.service_tier)
            # The last event's counts are running totals; what it leaves out was in the first.
            self._reported.update({name: value for name, value in reported.items() if value is not None})
            if self._reported.get("output_tokens") or self._reported.get("input_tokens"):
                self.usage = from_messages(self._reported)


def _block_texts(block: Mapping[str, Any]) -> Iterator[str]:
    for name in ("text", "thinking", "partial_json"):
        if isinstance(text := block.get(name), str):
            yield text
    if block.get("type") == "tool_use" and block.get("input"):
        yield dump(block["input"])
