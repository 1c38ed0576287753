"""Has the C library give freed memory back to the system, and the system keep what stays in huge pages.

glibc raises the size from which an allocation gets pages of its own with every large one that is freed, up to 32 MiB,
and keeps an arena for each of several threads. Then one burst of large requests stays in memory for good: freed, but
in pieces below what is still used. A fixed threshold gives large buffers back when they are freed.

What a request needs of modules and tables is spread over hundreds of MiB, so the processor has to look up the place of
page after page, which takes longest in a virtual machine. One page of 2 MiB in place of 512 saves most of that.
"""

import asyncio
import ctypes
import logging
import re
from pathlib import Path

# glibc's names for its parameters (malloc.h).
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
# Allocations of so many bytes get pages of their own; glibc's first value, before it adapts.
OWN_PAGES = 128 * 1024
# Bytes at the end of the heap that are kept for the next allocations.
KEPT = 1024 * 1024
# Python runs one thread at a time; gRPC's and uvloop's allocate little.
ARENAS = 2
# Seconds between two looks for free pages between used ones.
TRIM_EVERY_S = 10.0
# Linux's name for gathering pages into huge ones at once (madvise(2), since 6.1).
_MADV_COLLAPSE = 25
HUGE_PAGE = 2 * 1024 * 1024
# A line of /proc/self/maps about memory that belongs to no file: its first address, and the one after its last.
_ANONYMOUS = re.compile(r"(?<![0-9a-f])([0-9a-f]++)-([0-9a-f]++) rw-p 00000000 00:00 0 ++(?:\[heap\])?")

log = logging.getLogger(__name__)


def give_back() -> bool:
    """Set the thresholds for this process; whether the C library has such."""
    try:
        set_parameter = ctypes.CDLL(None).mallopt
    except AttributeError:
        return False
    return all(
        set_parameter(name, value)
        for name, value in ((_MMAP_THRESHOLD, OWN_PAGES), (_TRIM_THRESHOLD, KEPT), (_ARENA_MAX, ARENAS))
    )


async def trimming() -> None:
    """Give pages back that became free between used ones; ends only where the C library cannot.

    Many small buffers of gRPC leave such: some 20 MiB after calls that were refused unread. A look takes 1 to 2 ms of
    CPU, beside the event loop.
    """
    while True:
        await asyncio.sleep(TRIM_EVERY_S)
        if not await asyncio.to_thread(trim):
            return


def trim() -> bool:
    """Give free pages back wherever they are (malloc_trim(3)); whether the C library can."""
    try:
        give = ctypes.CDLL(None).malloc_trim
    except AttributeError:
        return False
    give(ctypes.c_size_t(0))
    return True


def gather(maps: Path = Path("/proc/self/maps")) -> int:
    """Gather what this process has built so far into huge pages; returns the bytes of those that were made.

    None are made where the system is none of Linux, or knows or allows no such thing.
    """
    try:
        lines, advise = maps.read_text().splitlines(), ctypes.CDLL(None).madvise
    except (OSError, AttributeError):
        return 0
    advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    gathered = 0
    for found in filter(None, map(_ANONYMOUS.fullmatch, lines)):
        begin, end = (int(address, 16) for address in found.groups())
        for address in range(-(-begin // HUGE_PAGE) * HUGE_PAGE, end - HUGE_PAGE + 1, HUGE_PAGE):
            # One at a time: none waits for the others, and one that is refused leaves them alone.
            gathered += HUGE_PAGE * (advise(address, HUGE_PAGE, _MADV_COLLAPSE) == 0)
    log.debug("%d MiB are in huge pages", gathered // 2**20)
    return gathered
