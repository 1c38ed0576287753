"""What a body is: its type, and whether it is packed, both ways within bounds."""

import asyncio
import gzip
import zlib
from collections.abc import Callable, Iterator

from services.chassis import errors, json_bounds, offload
from services.gateway.rest.requests import BLOCK, MAX_BODY

# Shorter answers are sent as they are: packing costs more CPU than sending, and most clients accept gzip unasked.
PACKED_FROM = 16 * 1024
# Of 1 to 9: a third of the bytes at a fifth of the time of the best.
LEVEL = 1
# Longer ones are packed in a thread, which holds no lock meanwhile: a mebibyte takes some 10 ms.
IN_THREAD_FROM = 64 * 1024
# Of zlib: only gzip's own header is read.
_GZIP = 31


def check_json(content_type: str) -> None:
    """Refuse a body that says it is no JSON; one that says nothing is taken to be.

    Raises:
        UnsupportedType: it says so.
    """
    given = content_type.partition(";")[0].strip().lower()
    if given and given != "application/json" and not given.endswith("+json"):
        raise errors.UnsupportedType(
            f"content-type: {given[:100]} is not read here; send JSON and say content-type: application/json",
            param="content-type",
        )


async def unpacked(
    body: bytes,
    coding: str,
    count: json_bounds.Count | None = None,
    *,
    grown: Callable[[int], None] = lambda _: None,
) -> bytes:
    """The body as it was before a client packed it; a long one is unpacked and counted beside the event loop.

    Args:
        body: As it was sent.
        coding: Its content-encoding.
        count: Refuses one that holds too much, before all of it is unpacked.
        grown: Learns block by block how many bytes it has become, also of one that is refused.

    Raises:
        UnsupportedType: by another coding than gzip.
        TooLarge: it is longer than 16 MiB.
        Invalid: it is no gzip, or what `count` says.
    """
    if not is_packed(coding):
        return body
    return await offload.run(_length(body), lambda: _unpacked(body, count, grown))


def is_packed(coding: str) -> bool:
    """Whether a body is packed, by its content-encoding.

    Raises:
        UnsupportedType: by another coding than gzip.
    """
    wanted = coding.strip().lower()
    if wanted not in ("", "identity", "gzip", "x-gzip"):
        raise errors.UnsupportedType(
            f"content-encoding: {wanted[:100]} is not read here; send gzip or nothing",
            param="content-encoding",
        )
    return wanted in ("gzip", "x-gzip")


def _length(body: bytes) -> int:
    """How many bytes a packed body becomes; of a long one, that it is long.

    Its own length says nothing of that: 16 MiB of the same few bytes are packed into 16 KiB.
    """
    if len(body) > offload.LONG:
        return len(body)
    try:
        return len(zlib.decompressobj(_GZIP).decompress(body, offload.LONG + 1))
    except zlib.error:
        # Whoever unpacks it says so, before it has become long.
        return 0


def _unpacked(body: bytes, count: json_bounds.Count | None, grown: Callable[[int], None]) -> bytes:
    reader = zlib.decompressobj(_GZIP)
    blocks: list[bytes] = []
    length = 0
    try:
        for block in _blocks(reader, body):
            length += len(block)
            grown(length)
            if length > MAX_BODY:
                raise errors.TooLarge(
                    f"the body is longer than {MAX_BODY // 2**20} MiB when unpacked; send less"
                )
            if count is not None:
                count.add(block)
            blocks.append(block)
    except zlib.error as error:
        raise errors.Invalid("content-encoding: the body is no gzip", param="content-encoding") from error
    if not reader.eof:
        raise errors.Invalid("content-encoding: the body ends too early", param="content-encoding")
    return b"".join(blocks)


def _blocks(reader: "zlib._Decompress", body: bytes) -> Iterator[bytes]:
    """A body as it is unpacked, in blocks."""
    for place in range(0, len(body), BLOCK):
        packed = body[place : place + BLOCK]
        while not reader.eof and (block := reader.decompress(packed, BLOCK)):
            yield block
            packed = reader.unconsumed_tail


def takes_gzip(accepted: str) -> bool:
    """Whether a client takes a packed answer, by its Accept-Encoding."""
    for one in accepted.lower().split(","):
        coding, _, weight = one.partition(";")
        if coding.strip() == "gzip":
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


async def packed(body: bytes) -> bytes:
    """The body in gzip."""
    if len(body) < IN_THREAD_FROM:
        return gzip.compress(body, LEVEL)
    return await asyncio.to_thread(gzip.compress, body, LEVEL)
