"""OpenAI's moderations."""

from services.executor.engines.base import Piece
from services.executor.formats.base import Chunk, WholeFormat, malformed


class ModerationsFormat(WholeFormat):
    """Results; no provider reports tokens for them."""

    def whole(self, piece: Piece) -> Chunk:
        """The answer, under the public name of the model."""
        if not isinstance(piece.data.get("results"), list):
            raise malformed("results")
        self.complete = True
        return Chunk(self._text(piece, edited=self._set_model(piece.data)))
