"""How much a JSON text may hold, counted before anything is built of it.

A parser takes a hundred times as long for a body of `{},{},...` as for one text of the same length, and holds the
interpreter's lock all the while, in whatever thread. What is counted here takes about a millisecond for each MiB.
"""

from services.chassis.errors import Invalid

# Values in all: a conversation of 4,096 messages with parts, and tools with large schemas, stay well below.
MAX_VALUES = 50_000
# Values where nearly all are the numbers of tokens, of which OpenAI's embeddings take 300,000 in a request: numbers are
# read at a hundredth of what objects cost.
MAX_NUMBERS = 310_000
# Levels of objects and lists; a parser reads more than a serializer writes.
MAX_DEPTH = 64

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
    if len(text.translate(None, _NO_MARK)) <= MAX_DEPTH:
        return
    if b"\\" in text:
        text = text.replace(rb"\\", b"").replace(rb"\"", b"")
    # Each value but the last of its list is followed by a comma, and each text is between two quotes.
    if text.count(b'"') > 4 * most_values:
        raise _too_many(most_values)
    outside = b"".join(text.split(b'"')[::2])
    if len(outside.translate(None, _NO_MARK)) > most_values:
        raise _too_many(most_values)
    brackets = outside.translate(_BRACKETS, _NO_BRACKET)
    for _ in range(MAX_DEPTH):
        if not brackets:
            return
        # The innermost level of each branch.
        brackets = brackets.replace(b"[]", b"")
    if b"[]" in brackets:
        raise Invalid(
            f"the body is nested deeper than {MAX_DEPTH} levels; flatten it", reason="JSON_TOO_DEEP"
        )


def _too_many(most_values: int) -> Invalid:
    return Invalid(f"the body has more than {most_values} values; send fewer", reason="JSON_TOO_MANY_VALUES")
