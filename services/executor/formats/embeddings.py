"""OpenAI's embeddings."""

from services.executor.engines.base import Piece
from services.executor.engines.usage import from_chat
from services.executor.formats.base import Chunk, WholeFormat, malformed


class EmbeddingsFormat(WholeFormat):
    """Vectors."""

    def whole(self, piece: Piece) -> Chunk:
        """The answer, under the public name of the model."""
        if not isinstance(piece.data.get("data"), list):
            raise malformed("data")
        if isinstance(reported := piece.data.get("usage"), dict):
            self.usage, self.estimated = from_chat(reported), piece.estimated
        self.complete = True
        return Chunk(self._text(piece, edited=self._set_model(piece.data)))
