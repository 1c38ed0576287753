"""What every format of an answer has in common.

The edits are few: `model` becomes the public name, usage is shown exactly when the caller wants it, and
nothing else is touched, so a chunk that needs no edit is sent on as the text it came as.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import orjson

from services.chassis.unit_prices import Units
from services.executor.engines.base import Piece
from services.executor.engines.outcomes import ErrorClass, Failed
from services.executor.engines.usage import Usage


# Not frozen, for the same reason as `Piece`.
@dataclass(slots=True)
class Chunk:
    """One JSON text for the caller: a whole answer, or a chunk of a streamed one.

    Args:
        text: The JSON text; empty where the answer is none.
        finishes: Whether it is a chunk that ends a choice.
        content: A whole answer that is no JSON.
        content_type: What that is, as HTTP names it.

    """

    text: str
    finishes: bool = False
    content: bytes = b""
    content_type: str = ""


class ResponseFormat(ABC):
    """One answer on its way to the caller.

    Attributes:
        usage: What the provider reported so far; None when it has not.
        estimated: Whether that was counted for it, as it reports none.
        texts: The pieces of text the model has produced so far.
        media: Whether some of a picture or of speech came, which no text tells of.
        reasoned: Whether some of its reasoning was among the texts.
        complete: Whether the provider marked the answer as complete.
        service_tier: The tier by which the provider served the call; "" when it names none.
        units: What is billed where no tokens are reported; None where tokens always are what is billed.

    """

    def __init__(self, model: str) -> None:
        self._model = model
        self.usage: Usage | None = None
        self.estimated = False
        self.texts: list[str] = []
        self.media = False
        self.reasoned = False
        self.complete = False
        self.service_tier = ""
        self.units: Units | None = None

    @property
    def begun(self) -> bool:
        """Whether any of what is billed has come."""
        return bool(self.texts) or self.media or self.usage is not None

    @abstractmethod
    def whole(self, piece: Piece) -> Chunk:
        """The answer of a call without a stream.

        Raises:
            Failed: it is not an answer in this format.
        """

    @abstractmethod
    def chunk(self, piece: Piece) -> list[Chunk]:
        """What of a chunk goes to the caller; often all of it, sometimes nothing.

        Raises:
            Failed: an error came instead of a chunk.
        """

    def tail(self, counted: Usage) -> list[Chunk]:  # noqa: ARG002
        """What follows the last chunk; `counted` are the tokens, reported or estimated."""
        return []

    def _text(self, piece: Piece, *, edited: bool) -> str:
        if piece.text is not None and not edited:
            return piece.text
        return dump(piece.data)

    def _set_model(self, part: dict[str, Any]) -> bool:
        """Set the public name; True when that changed anything."""
        if part.get("model") == self._model:
            return False
        part["model"] = self._model
        return True


class WholeFormat(ResponseFormat):
    """An answer of an operation that has no stream."""

    def chunk(self, piece: Piece) -> list[Chunk]:  # noqa: ARG002  (it is an error whatever it holds)
        """It is never streamed."""
        raise Failed(ErrorClass.MALFORMED, "a stream came for what is not streamed", 200, billed=True)


def dump(data: Any) -> str:
    """JSON text of an answer or a chunk."""
    return orjson.dumps(data).decode()


def malformed(missing: str) -> Failed:
    """An answer without what makes it one."""
    return Failed(ErrorClass.MALFORMED, f"the provider's answer holds no {missing}", 200, billed=True)
