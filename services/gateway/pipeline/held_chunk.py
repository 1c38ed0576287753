"""The last chunk of a stream, held back until the cost is known that it carries."""

from collections.abc import Iterable, Iterator

from lumni.executor.v1 import executor_pb2


class HeldChunk:
    """Holds the newest chunk from the first one that ends a choice on; all before are passed on as they come.

    Which chunk is the last is only known when the report follows it, and a chunk that ends no choice is never the last
    of a whole answer.
    """

    def __init__(self) -> None:
        self.held: str | None = None

    def passed_on(self, chunks: executor_pb2.Chunks) -> Iterable[str]:
        """The chunks that may be sent now that these have come."""
        return chunks.chunk_json if self.held is None and not chunks.finishing else self._held_back(chunks)

    def _held_back(self, chunks: executor_pb2.Chunks) -> Iterator[str]:
        for place, chunk in enumerate(chunks.chunk_json):
            if self.held is not None:
                yield self.held
                self.held = chunk
            elif place in chunks.finishing:
                self.held = chunk
            else:
                yield chunk
