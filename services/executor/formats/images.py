"""OpenAI's pictures."""

from collections.abc import Mapping
from typing import Any

from services.chassis.unit_prices import Units
from services.executor.engines.base import Piece
from services.executor.engines.usage import Usage, from_images
from services.executor.formats.base import Chunk, WholeFormat, malformed


class ImagesFormat(WholeFormat):
    """Pictures, each as base64 or as an address.

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
        image = "/".join(str(data.get(name) or self._body.get(name) or "") for name in ("quality", "size"))
        self.units = Units(images=len(pictures), image=image)
        if isinstance(reported := data.get("usage"), dict) and (read := from_images(reported)) != Usage():
            self.usage = read
        self.complete = True
        return Chunk(self._text(piece, edited=False))
