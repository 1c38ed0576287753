"""OpenAI's responses: an object without a stream, typed events with one."""

from typing import Any

from services.executor.engines import provider_errors
from services.executor.engines.base import Piece
from services.executor.engines.usage import from_responses
from services.executor.formats.base import Chunk, ResponseFormat, malformed

ENDS = ("response.completed", "response.incomplete")
ERRORS = ("response.failed", "error")


class ResponsesFormat(ResponseFormat):
    """Output items, or events about them."""

    def whole(self, piece: Piece) -> Chunk:
        """The answer, under the public name of the model."""
        if not isinstance(piece.data.get("output"), list):
            raise malformed("output")
        self._read(piece.data)
        self._read_output(piece.data["output"])
        self.complete = True
        return Chunk(self._text(piece, edited=self._set_model(piece.data)))

    def chunk(self, piece: Piece) -> list[Chunk]:
        """The event, as it is but for the model's name."""
        data = piece.data
        if not data:
            return []
        kind = data.get("type", "")
        if kind in ERRORS:
            raise provider_errors.from_object(data.get("response", data).get("error") or data)
        if isinstance(delta := data.get("delta"), str) and kind.endswith(".delta"):
            self.texts.append(delta)
        edited = False
        if isinstance(inner := data.get("response"), dict):
            edited = self._set_model(inner)
            self._read(inner)
        finishes = kind in ENDS
        self.complete = self.complete or finishes
        return [Chunk(self._text(piece, edited=edited), finishes)]

    def _read(self, response: dict[str, Any]) -> None:
        self.service_tier = str(response.get("service_tier") or self.service_tier)
        if isinstance(reported := response.get("usage"), dict):
            self.usage = from_responses(reported)

    def _read_output(self, output: list[Any]) -> None:
        for item in output:
            for part in item.get("content") or ():
                if isinstance(text := part.get("text"), str):
                    self.texts.append(text)
            if isinstance(arguments := item.get("arguments"), str):
                self.texts.append(arguments)
