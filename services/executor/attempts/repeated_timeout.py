"""A timeout for each of many waits in turn, with one timer for all of them.

`asyncio.timeout` makes a timer for each wait and cancels it afterwards. Between the chunks of a stream, where hardly
any wait comes near its end, that was a tenth of what a chunk cost.
"""

import asyncio
from types import TracebackType

# Timers may fire this much early, in seconds: the loop's clock counts milliseconds.
RESOLUTION_S = 0.001


class RepeatedTimeout:
    """Bounds one wait at a time; the timer is only moved when it fires before the wait of the moment may end."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        # When the timer fires, and when the wait of the moment is over, on the loop's clock.
        self._fires_at = self._due = 0.0
        # Who waits, if anybody does at the moment.
        self._waiting: asyncio.Task[object] | None = None
        # How often it was cancelled before it waited, and whether its time was over.
        self._cancelling, self._expired = 0, False

    def within(self, timeout_s: float) -> "RepeatedTimeout":
        """To be entered at once: what the block waits for is cancelled after `timeout_s` seconds.

        Raises:
            TimeoutError: it took longer; the block's end does.
        """
        self._due = self._loop.time() + timeout_s
        if self._timer is None or self._due < self._fires_at:
            self._start()
        return self

    def __enter__(self) -> None:
        self._waiting = task = asyncio.current_task()
        assert task is not None
        self._cancelling, self._expired = task.cancelling(), False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task, self._waiting = self._waiting, None
        # As in asyncio.timeout: a cancellation from outside goes before this one.
        if (
            self._expired
            and task is not None
            and task.uncancel() <= self._cancelling
            and kind is asyncio.CancelledError
        ):
            raise TimeoutError from error

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _start(self) -> None:
        self.close()
        self._fires_at = self._due
        self._timer = self._loop.call_at(self._due, self._fired)

    def _fired(self) -> None:
        self._timer = None
        if self._waiting is None:
            return
        if self._due - self._loop.time() > RESOLUTION_S:
            self._start()
        else:
            self._expired = True
            self._waiting.cancel()
