"""OpenAI's transcriptions: JSON, or a text with or without times."""

import math
from typing import Any

from services.chassis import bounds
from services.chassis.unit_prices import Units
from services.executor.engines.base import Piece
from services.executor.engines.usage import Usage, from_transcription
from services.executor.formats.base import Chunk, WholeFormat, malformed

# Longer sound is believed of nobody, in seconds.
_LONGEST_S = bounds.MOST_AUDIO_MS / 1000


class TranscriptionFormat(WholeFormat):
    """What was said.

    Args:
        model: The public name.
        audio_ms: How long the sound is taken to be where the answer does not say.

    """

    def __init__(self, model: str, audio_ms: int) -> None:
        super().__init__(model)
        self._audio_ms = audio_ms

    def whole(self, piece: Piece) -> Chunk:
        """The answer as it is: it names no model."""
        heard_s: float | None = None
        if not piece.content:
            if not isinstance(text := piece.data.get("text"), str):
                raise malformed("text")
            self.texts.append(text)
            reported = piece.data.get("usage")
            if isinstance(reported, dict):
                heard_s = _seconds(reported.get("seconds"))
                if (read := from_transcription(reported)) != Usage():
                    self.usage = read
            if heard_s is None:
                heard_s = _seconds(piece.data.get("duration"))
        # Without the provider's word the bound is what counts.
        self.estimated = heard_s is None and self.usage is None
        self.units = Units(audio_ms=self._audio_ms if heard_s is None else math.ceil(heard_s) * 1000)
        self.complete = True
        if piece.content:
            return Chunk("", content=piece.content, content_type=piece.content_type)
        return Chunk(self._text(piece, edited=False))


def _seconds(value: Any) -> float | None:
    """A length in seconds, which some providers write as a text; None where there is none."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if 0 < found <= _LONGEST_S else None
