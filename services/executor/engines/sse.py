"""Server-sent events out of a stream of bytes, whatever the pieces it comes in."""

from collections.abc import AsyncGenerator, AsyncIterator

# A longer event, in bytes, is no chunk of an answer.
LONGEST = 32 * 1024 * 1024


async def events(parts: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    """Yield the data of each event; comments, names and ids are passed over.

    Raises:
        ValueError: an event has no end.
    """
    # What has come of a line that has not ended, and of an event whose end has not: each byte is copied twice at most.
    beginning = bytearray()
    data: list[bytes] = []
    held = 0
    async for part in parts:
        *ended, rest = part.split(b"\n")
        for end in ended:
            line = (bytes(beginning) + end if beginning else end).removesuffix(b"\r")
            beginning.clear()
            if line.startswith(b"data:"):
                data.append(line[6:] if line.startswith(b"data: ") else line[5:])
                held += len(line)
                if held > LONGEST:
                    raise ValueError("an event has no end")
            elif not line and data:
                yield b"\n".join(data)
                data.clear()
                held = 0
        beginning += rest
        if held + len(beginning) > LONGEST:
            raise ValueError("an event has no end")
    if beginning.startswith(b"data:"):
        data.append(bytes(beginning[5:]).strip())
    if data:
        # Some servers forget the last empty line.
        yield b"\n".join(data)
