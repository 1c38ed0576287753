"""How many calls of one deployment may run at once; a few more may be queued."""

import asyncio
from collections import deque
from contextlib import suppress


class ParallelSlots:
    """The slots of one deployment.

    Args:
        size: How many calls may run at once; 0 is no limit.
        queue: How many calls may be queued for a slot.

    """

    def __init__(self, size: int, queue: int) -> None:
        self.size = size
        self.in_use = 0
        self._queue_size = queue
        self._queue: deque[asyncio.Future[None]] = deque()

    @property
    def queued(self) -> int:
        """How many calls wait for a slot."""
        return len(self._queue)

    async def acquire(self, max_wait_s: float) -> bool:
        """Take a slot, queued for one at most `max_wait_s`; False when there is none in time."""
        if not self.size or self.in_use < self.size:
            self.in_use += 1
            return True
        if len(self._queue) >= self._queue_size or max_wait_s <= 0:
            return False
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            async with asyncio.timeout(max_wait_s):
                await turn
        except (TimeoutError, asyncio.CancelledError) as interruption:
            if turn.done() and not turn.cancelled():
                # The slot was handed over just as we gave up: pass it on.
                self.release()
            else:
                # A release in the same tick has taken it out already.
                with suppress(ValueError):
                    self._queue.remove(turn)
            if isinstance(interruption, TimeoutError):
                return False
            raise
        return True

    def release(self) -> None:
        """Give a slot back, to the call that is queued longest."""
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.in_use -= 1
