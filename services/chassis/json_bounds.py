"""How much a JSON text may hold, counted before anything is built of it.

A parser takes a hundred times as long for a body of `{},{},...` as for one text of the same length, and holds the
interpreter's lock all the while, in whatever thread. What is counted here takes a tenth of a millisecond for each MiB
of long texts, a few where quotes are what a body is made of, and lets go of the lock after every chunk.
"""

from collections.abc import Iterator

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

_BRACKETS = bytes.maketrans(b"{}", b"[]")
# What stands before or after each value that is not alone in its list.
_NO_MARK = bytes(byte for byte in range(256) if byte not in b",[{")
_NO_BRACKET = bytes(byte for byte in range(256) if byte not in b"[]{}")


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
    marks = 0
    brackets = bytearray()
    for piece in _outside(text, most_values):
        # Each value but the last of its list is followed by a comma.
        marks += len(piece.translate(None, _NO_MARK))
        if marks > most_values:
            raise _too_many(most_values)
        brackets += piece.translate(_BRACKETS, _NO_BRACKET)
    for _ in range(MAX_DEPTH):
        if not brackets:
            return
        # The innermost level of each branch.
        brackets = brackets.replace(b"[]", b"")
    if b"[]" in brackets:
        raise Invalid(
            f"the body is nested deeper than {MAX_DEPTH} levels; flatten it", reason="JSON_TOO_DEEP"
        )


def _outside(text: bytes, most_values: int = MAX_VALUES) -> Iterator[bytes]:
    """What of a JSON text lies outside of its strings, chunk by chunk.

    Raises:
        Invalid: it has more strings than values are allowed.
    """
    place = quotes = 0
    while place < len(text):
        chunk = text[place : place + CHUNK]
        if (len(chunk) - len(chunk.rstrip(b"\\"))) % 2 and place + CHUNK < len(text):
            # What the last backslash escapes belongs to it.
            chunk = chunk[:-1]
        place += len(chunk)
        is_inside = quotes % 2
        if b'"' not in chunk:
            if not is_inside:
                yield chunk
            continue
        if b"\\" in chunk:
            chunk = chunk.replace(rb"\\", b"").replace(rb"\"", b"")
        parts = chunk.split(b'"')
        quotes += len(parts) - 1
        # Each string is between two quotes, and may be a name.
        if quotes > 4 * most_values:
            raise _too_many(most_values)
        yield b"".join(parts[is_inside::2])


def _too_many(most_values: int) -> Invalid:
    return Invalid(f"the body has more than {most_values} values; send fewer", reason="JSON_TOO_MANY_VALUES")
