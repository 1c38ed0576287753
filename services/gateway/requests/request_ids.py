"""Ids that sort by time."""

import os
import time
from uuid import UUID


def request_id() -> str:
    """A UUIDv7 (RFC 9562): 48 bits of milliseconds since 1970, then random bits."""
    milliseconds = time.time_ns() // 1_000_000
    noise = int.from_bytes(os.urandom(10), "big")
    value = (milliseconds & (1 << 48) - 1) << 80 | noise & (1 << 80) - 1
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def age_s(ident: str) -> float:
    """How long ago an id was made, in seconds; by another machine's clock perhaps, so it may be negative.

    Raises:
        ValueError: it is no UUIDv7.
    """
    known = UUID(ident)
    if known.version != 7:
        raise ValueError("not a UUIDv7")
    return time.time() - (known.int >> 80) / 1000
