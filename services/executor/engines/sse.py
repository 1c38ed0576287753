"""Server-sent events out of a stream of bytes, whatever the pieces it comes in."""

from collections.abc import Iterable, Iterator

# A longer event, in bytes, is no chunk of an answer.
LONGEST = 32 * 1024 * 1024


class EventReader:
    """Reads the data of events; comments, names and ids are passed over."""

    def __init__(self) -> None:
        # What has come of a line, and of an event, that have not ended: each byte is copied twice at most.
        self._beginning = bytearray()
        self._data: list[bytes] = []
        self._held = 0

    def read(self, part: bytes) -> Iterable[bytes]:
        """The data of each event that ends in a part of the stream.

        Raises:
            ValueError: an event has no end; the iteration does.
        """
        # What nearly every part of a stream is: one whole event of one line.
        if (
            part.startswith(b"data: ")
            and part.endswith(b"\n\n")
            and part.index(b"\n") == len(part) - 2 <= LONGEST
            and not self._data
            and not self._beginning
        ):
            return (part[6:-2].removesuffix(b"\r"),)
        return self._lines(part)

    def _lines(self, part: bytes) -> Iterator[bytes]:
        *ended, rest = part.split(b"\n")
        for end in ended:
            line = (bytes(self._beginning) + end if self._beginning else end).removesuffix(b"\r")
            self._beginning.clear()
            if line.startswith(b"data:"):
                self._data.append(line[6:] if line.startswith(b"data: ") else line[5:])
                self._held += len(line)
                if self._held > LONGEST:
                    raise ValueError("an event has no end")
            elif not line and self._data:
                yield self._taken()
        self._beginning += rest
        if self._held + len(self._beginning) > LONGEST:
            raise ValueError("an event has no end")

    def end(self) -> Iterator[bytes]:
        """The data of the last event where the stream ended without its empty line, which some servers forget."""
        if self._beginning.startswith(b"data:"):
            self._data.append(bytes(self._beginning[5:]).strip())
        if self._data:
            yield self._taken()

    def _taken(self) -> bytes:
        event = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
        self._data.clear()
        self._held = 0
        return event
