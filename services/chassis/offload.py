"""Work on long texts, beside the event loop.

Python runs one thread at a time, so nothing is done sooner. But the loop has its turn every few milliseconds, where a
long text would keep it to itself; only single steps in C, such as parsing JSON, hold it up to their end.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

# Bytes from which a text is long: its work takes more than a few milliseconds, and a thread a tenth of one.
LONG = 256 * 1024
# One at a time: several would only take turns with the loop.
_WORKER = ThreadPoolExecutor(1, thread_name_prefix="long-texts")


async def run(size: int, work: Callable[[], T]) -> T:
    """Do the work on a text of so many bytes; at once where it is short."""
    if size <= LONG:
        return work()
    return await asyncio.get_running_loop().run_in_executor(_WORKER, work)
