"""OpenAI's pictures."""

from collections.abc import Mapping
from typing import Any

from services.chassis.unit_prices import Units
from services.executor.engines import provider_errors
from services.executor.engines.base import Piece
from services.executor.engines.usage import Usage, from_images
from services.executor.formats.base import Chunk, ResponseFormat, malformed

# The event of a picture that is finished; before it come those of what it looks like so far.
COMPLETED = "image_generation.completed"


class ImagesFormat(ResponseFormat):
    """Pictures, each as base64 or as an address; in a stream one picture, as it becomes clearer.

    Args:
        model: The public name.
        body: The request, which says what pictures it wants where the answer does not.

    """

    def __init__(self, model: str, body: Mapping[str, Any]) -> None:
        super().__init__(model)
        self._body = body

    def whole(self, piece: Piece) -> Chunk:
        """The answer as it is: it names no model."""
        data = piece.data
        pictures = data.get("data")
        if not isinstance(pictures, list) or not pictures:
            raise malformed("data")
        self._measure(data, len(pictures))
        return Chunk(self._text(piece, edited=False))

    def chunk(self, piece: Piece) -> list[Chunk]:
        """The event as it is."""
        if not piece.data:
            return []
        if piece.data.get("type") == "error":
            raise provider_errors.from_object(piece.data)
        self.media = True
        finishes = piece.data.get("type") == COMPLETED
        if finishes:
            self._measure(piece.data, 1)
        return [Chunk(self._text(piece, edited=False), finishes)]

    def _measure(self, data: dict[str, Any], count: int) -> None:
        """Note what so many finished pictures are billed by."""
        image = "/".join(str(data.get(name) or self._body.get(name) or "") for name in ("quality", "size"))
        self.units = Units(images=count, image=image)
        if isinstance(reported := data.get("usage"), dict) and (read := from_images(reported)) != Usage():
            self.usage = read
        self.complete = True
