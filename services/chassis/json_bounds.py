"""How much a JSON text may hold, counted before anything is built of it.

A parser takes a hundred times as long for a body of `{},{},...` as for one text of the same length, and holds the
interpreter's lock all the while, in whatever thread. What is counted here takes a tenth of a millisecond for each MiB
of long texts, a few where quotes are what a body is made of, and lets go of the lock after every chunk.
"""

from itertools import accumulate

from services.chassis.errors import Invalid

# Values in all: a conversation of 4,096 messages with parts, and tools with large schemas, stay well below.
MAX_VALUES = 50_000
# Values where nearly all are the numbers of tokens, of which OpenAI's embeddings take 300,000 in a request: numbers are
# read at a hundredth of what objects cost.
MAX_NUMBERS = 310_000
# Levels of objects and lists; a parser reads more than a serializer writes.
MAX_DEPTH = 64
# Bytes that are looked at in one step.
CHUNK = 64 * 1024

# What stands before or after each value that is not alone in its list.
_NO_MARK = bytes(byte for byte in range(256) if byte not in b",[{")
_NO_BRACKET = bytes(byte for byte in range(256) if byte not in b"[]{}")
# By how many levels a bracket leads in or out.
_STEPS = {**dict.fromkeys(b"[{", 1), **dict.fromkeys(b"]}", -1)}


def check(text: bytes, most_values: int = MAX_VALUES) -> None:
    """Refuse a text with more values or levels than anybody needs; what is no JSON passes, for the parser to say.

    Args:
        text: JSON.
        most_values: How many values it may hold.

    Raises:
        Invalid: says which bound.
    """
    if len(text) <= CHUNK and len(text.translate(None, _NO_MARK)) <= MAX_DEPTH:
        return
    Count(most_values).add(text)


class Count:
    """Counts a text that comes in pieces, and refuses it as soon as they hold too much."""

    def __init__(self, most_values: int = MAX_VALUES) -> None:
        self._most = most_values
        self._marks = self._quotes = self._depth = 0
        # A backslash that ended a piece: what it escapes comes with the next.
        self._escape = b""
        self._is_json = True

    def add(self, piece: bytes) -> None:
        """Count the next piece, however it was cut.

        Raises:
            Invalid: the pieces hold too many values, or too many levels.
        """
        for place in range(0, len(piece), CHUNK):
            if not self._is_json:
                # A parser gives up where this was seen.
                return
            self._add(piece[place : place + CHUNK])

    def _add(self, chunk: bytes) -> None:
        outside = self._outside(chunk)
        # Each value but the last of its list is followed by a comma.
        self._marks += len(outside.translate(None, _NO_MARK))
        if self._marks > self._most:
            raise _too_many(self._most)
        brackets = outside.translate(None, _NO_BRACKET)
        levels = list(accumulate(map(_STEPS.__getitem__, brackets), initial=self._depth))
        if max(levels) > MAX_DEPTH:
            raise Invalid(
                f"the body is nested deeper than {MAX_DEPTH} levels; flatten it", reason="JSON_TOO_DEEP"
            )
        self._depth = levels[-1]
        self._is_json = min(levels) >= 0

    def _outside(self, chunk: bytes) -> bytes:
        """What of a chunk lies outside of the text's strings."""
        chunk, self._escape = self._escape + chunk, b""
        if (len(chunk) - len(chunk.rstrip(b"\\"))) % 2:
            chunk, self._escape = chunk[:-1], b"\\"
        is_inside = self._quotes % 2
        if b'"' not in chunk:
            return b"" if is_inside else chunk
        if b"\\" in chunk:
            chunk = chunk.replace(rb"\\", b"").replace(rb"\"", b"")
        parts = chunk.split(b'"')
        self._quotes += len(parts) - 1
        # Each string is between two quotes, and may be a name.
        if self._quotes > 4 * self._most:
            raise _too_many(self._most)
        return b"".join(parts[is_inside::2])


def _too_many(most_values: int) -> Invalid:
    return Invalid(f"the body has more than {most_values} values; send fewer", reason="JSON_TOO_MANY_VALUES")
