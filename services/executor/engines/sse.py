"""Server-sent events out of a stream of bytes, whatever the pieces it comes in."""

from collections.abc import AsyncGenerator, AsyncIterator

# A longer line is no chunk of an answer.
LONGEST = 32 * 1024 * 1024


async def events(parts: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    """Yield the data of each event; comments, names and ids are passed over.

    Raises:
        ValueError: a line has no end.
    """
    rest = b""
    data: list[bytes] = []
    async for part in parts:
        rest += part
        if b"\n" not in part and b"\r" not in part:
            if len(rest) > LONGEST:
                raise ValueError("a line has no end")
            continue
        lines = rest.replace(b"\r\n", b"\n").split(b"\n")
        rest = lines.pop()
        for line in lines:
            if line.startswith(b"data:"):
                data.append(line[6:] if line.startswith(b"data: ") else line[5:])
            elif not line and data:
                yield b"\n".join(data)
                data = []
    if rest.startswith(b"data:"):
        data.append(rest[5:].strip())
    if data:
        # Some servers forget the last empty line.
        yield b"\n".join(data)
