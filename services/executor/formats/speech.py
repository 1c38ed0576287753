"""OpenAI's speech: a text made sound, whose tokens are reported in streams alone."""

from collections.abc import Mapping
from typing import Any

from services.chassis import audio
from services.chassis.unit_prices import Units
from services.executor.engines import provider_errors
from services.executor.engines.base import Piece
from services.executor.engines.usage import Usage, from_speech
from services.executor.formats.base import Chunk, ResponseFormat, malformed

# Raw samples say nothing of themselves; OpenAI's are 24,000 a second, of two bytes each.
_PCM_BYTES_PER_MS = 48
# The event that follows the last piece of sound.
DONE = "speech.audio.done"


class SpeechFormat(ResponseFormat):
    """Sound, or events with its pieces.

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
        self._measure(heard)
        return Chunk("", content=piece.content, content_type=piece.content_type)

    def chunk(self, piece: Piece) -> list[Chunk]:
        """The event as it is."""
        if not piece.data:
            return []
        if piece.data.get("type") == "error":
            raise provider_errors.from_object(piece.data)
        self.media = True
        finishes = piece.data.get("type") == DONE
        if finishes:
            reported = piece.data.get("usage")
            if isinstance(reported, dict) and (read := from_speech(reported)) != Usage():
                self.usage = read
            # Pieces of sound say nothing of its length.
            self._measure(0)
        return [Chunk(self._text(piece, edited=False), finishes)]

    def _measure(self, heard_ms: int) -> None:
        """Note what the whole text is billed by."""
        self.units = Units(characters=len(str(self._body.get("input"))), audio_ms=heard_ms)
        self.complete = True
