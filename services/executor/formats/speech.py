"""OpenAI's speech: a text made sound, whose tokens no provider reports."""

from collections.abc import Mapping
from typing import Any

from services.chassis import audio
from services.chassis.unit_prices import Units
from services.executor.engines.base import Piece
from services.executor.formats.base import Chunk, WholeFormat, malformed

# Raw samples say nothing of themselves; OpenAI's are 24,000 a second, of two bytes each.
_PCM_BYTES_PER_MS = 48


class SpeechFormat(WholeFormat):
    """Sound.

    Args:
        model: The public name.
        body: The request, which holds the text that is spoken.

    """

    def __init__(self, model: str, body: Mapping[str, Any]) -> None:
        super().__init__(model)
        self._body = body

    def whole(self, piece: Piece) -> Chunk:
        """The sound as it is."""
        if not piece.content:
            raise malformed("sound")
        if self._body.get("response_format") == "pcm":
            heard = -(-len(piece.content) // _PCM_BYTES_PER_MS)
        else:
            heard = audio.duration_ms(piece.content) or 0
        self.units = Units(characters=len(str(self._body.get("input"))), audio_ms=heard)
        self.complete = True
        return Chunk("", content=piece.content, content_type=piece.content_type)
