"""What a body is: its type, and whether it is packed, both ways within bounds."""

import asyncio
import gzip
import zlib

from services.chassis import errors
from services.gateway.rest.requests import MAX_BODY

# Shorter answers are sent as they are: packing costs more CPU than sending, and most clients accept gzip unasked.
PACKED_FROM = 16 * 1024
# Of 1 to 9: a third of the bytes at a fifth of the time of the best.
LEVEL = 1
# Longer ones are packed and unpacked in a thread, which holds no lock meanwhile: a mebibyte takes some 10 ms.
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


async def unpacked(body: bytes, coding: str) -> bytes:
    """The body as it was before a client packed it.

    Raises:
        UnsupportedType: by another coding than gzip.
        TooLarge: it is longer than 16 MiB.
        Invalid: it is no gzip.
    """
    wanted = coding.strip().lower()
    if wanted in ("", "identity"):
        return body
    if wanted not in ("gzip", "x-gzip"):
        raise errors.UnsupportedType(
            f"content-encoding: {wanted[:100]} is not read here; send gzip or nothing",
            param="content-encoding",
        )
    if len(body) < IN_THREAD_FROM:
        return _unpacked(body)
    return await asyncio.to_thread(_unpacked, body)


def _unpacked(body: bytes) -> bytes:
    reader = zlib.decompressobj(_GZIP)
    try:
        # One byte more than may be: what is longer is not unpacked at all.
        plain = reader.decompress(body, MAX_BODY + 1)
    except zlib.error as error:
        raise errors.Invalid("content-encoding: the body is no gzip", param="content-encoding") from error
    if len(plain) > MAX_BODY:
        raise errors.TooLarge(f"the body is longer than {MAX_BODY // 2**20} MiB when unpacked; send less")
    if not reader.eof:
        raise errors.Invalid("content-encoding: the body ends too early", param="content-encoding")
    return plain


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
