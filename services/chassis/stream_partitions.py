"""The partitions of the streams that the ledger reads: as many as a setting says, with a consumer each.

A process appends all of its events to one partition, so that what it says of an attempt stays in order.
"""

from zlib import crc32

from services.chassis import redis_keys

__all__ = ["DOC", "MOST", "all_of", "check", "own"]

MOST = 64
DOC = (
    "partitions of the streams of usage and decisions, the same everywhere; the ledgers get more first, "
    "and fewer last"
)


def check(count: int) -> None:
    """Check the setting.

    Raises:
        ValueError: it is no number of partitions.
    """
    if not 1 <= count <= MOST:
        raise ValueError(f"LUMNI_STREAM_PARTITIONS: expected a number from 1 to {MOST}")


def all_of(stream: str, count: int) -> list[str]:
    """The partitions of a stream."""
    return [redis_keys.partition(stream, number) for number in range(count)]


def own(stream: str, count: int, process: str) -> str:
    """The partition that a process appends to; any process may append to any."""
    return redis_keys.partition(stream, crc32(process.encode()) % count)
