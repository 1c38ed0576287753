"""OpenAI's embeddings."""

from services.executor.engines.base import Piece
from services.executor.engines.outcomes import ErrorClass, Failed
from services.executor.engines.usage import from_chat
from services.executor.formats.base import Chunk, ResponseFormat, malformed


class EmbeddingsFormat(ResponseFormat):
    """Vectors."""

    def whole(self, piece: Piece) -> Chunk:
        """The answer, under the public name of the model."""
        if not isinstance(piece.data.get("data"), list):
            raise malformed("data")
        if isinstance(reported := piece.data.get("usage"), dict):
            self.usage, self.estimated = from_chat(reported), piece.estimated
        self.complete = True
        return Chunk(self._text(piece, edited=self._set_model(piece.data)))

    def chunk(self, piece: Piece) -> list[Chunk]:  # noqa: ARG002  (it is an error whatever it holds)
        """Embeddings are never streamed."""
        raise Failed(ErrorClass.MALFORMED, "embeddings came as a stream", 200, billed=True)
