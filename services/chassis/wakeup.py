"""One task that waits for another: an `asyncio.Event` costs more, which each chunk of a stream would pay for."""

import asyncio


class Wakeup:
    """What one task waits on at a time; a call of `wake` while none waits is forgotten."""

    def __init__(self) -> None:
        self._waiting: asyncio.Future[None] | None = None

    async def wait(self) -> None:
        """Return after the next `wake`."""
        self._waiting = asyncio.get_running_loop().create_future()
        await self._waiting

    def wake(self) -> None:
        """Let the task go on that waits, if one does."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
