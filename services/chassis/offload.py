"""Work on long texts, beside the event loop.

Python runs one thread at a time, so nothing is done sooner. But the loop has its turn whenever it wants one, where a
long text would keep it to itself; only single steps in C, such as writing or parsing JSON, hold it up to their end.
"""

import asyncio
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

# Bytes from which a text is long: its work takes more than a few milliseconds, and a thread a tenth of one.
LONG = 256 * 1024
# The longest that one thread goes on while another waits, in seconds. The loop waits for its turn several times in a
# request; at Python's own 5 ms each, a long text beside it would cost every short request 20 to 50.
TURN_S = 0.0005
# One at a time: several would only take turns with the loop.
_WORKER = ThreadPoolExecutor(1, thread_name_prefix="long-texts")


def take_short_turns() -> None:
    """Have the threads of this process take turns of `TURN_S`."""
    sys.setswitchinterval(TURN_S)


async def run(size: int, work: Callable[[], T]) -> T:
    """Do the work on a text of so many bytes; at once where it is short."""
    if size <= LONG:
        return work()
    return await asyncio.get_running_loop().run_in_executor(_WORKER, work)
