"""OpenAI's moderations."""

from services.executor.engines.base import Piece
from services.executor.engines.outcomes import ErrorClass, Failed
from services.executor.formats.base import Chunk, ResponseFormat, malformed


class ModerationsFormat(ResponseFormat):
    """Results; no provider reports tokens for them."""

    def whole(self, piece: Piece) -> Chunk:
        """The answer, under the public name of the model."""
        if not isinstance(piece.data.get("results"), list):
            raise malformed("results")
        self.complete = True
        return Chunk(self._text(piece, edited=self._set_model(piece.data)))

    def chunk(self, piece: Piece) -> list[Chunk]:  # noqa: ARG002  (it is an error whatever it holds)
        """Moderations are never streamed."""
        raise Failed(ErrorClass.MALFORMED, "moderations came as a stream", 200, billed=True)
