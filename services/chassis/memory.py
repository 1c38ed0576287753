"""Has the C library give freed memory back to the system.

glibc raises the size from which an allocation gets pages of its own with every large one that is freed, up to 32 MiB,
and keeps an arena for each of several threads. Then one burst of large requests stays in memory for good: freed, but
in pieces below what is still used. A fixed threshold gives large buffers back when they are freed.
"""

import ctypes

# glibc's names for its parameters (malloc.h).
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
# Allocations of so many bytes get pages of their own; glibc's first value, before it adapts.
OWN_PAGES = 128 * 1024
# Bytes at the end of the heap that are kept for the next allocations.
KEPT = 1024 * 1024
# Python runs one thread at a time; gRPC's and uvloop's allocate little.
ARENAS = 2


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
