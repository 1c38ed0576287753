"""The pieces of an answer, as they are kept until both answers are compared."""

from collections.abc import Sequence

# The longest answer that is compared, in characters of its JSON.
LONGEST_ANSWER = 262_144


class Pieces:
    """Takes the pieces of a stream; of one that is too long only the beginning, which says so."""

    def __init__(self) -> None:
        self.kept: list[str] = []
        self._size = 0

    def add(self, piece: str) -> None:
        """Take the next one."""
        # The first one that is too many stays, and says that it was too long.
        if self._size <= LONGEST_ANSWER:
            self._size += len(piece)
            self.kept.append(piece)


def too_long(pieces: Sequence[str]) -> bool:
    """Whether an answer is too long to be compared."""
    return sum(map(len, pieces)) > LONGEST_ANSWER
