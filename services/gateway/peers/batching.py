"""A peer that answers single requests quickly, in adaptive batches where calls are dear, or is done without."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar

from services.chassis import errors, rpc
from services.chassis.batching import Batcher
from services.chassis.outage import Outage

log = logging.getLogger(__name__)
Q = TypeVar("Q")
A = TypeVar("A")

TOLERATED_FAILURES = 3
PAUSE_S = 1.0
# Bytes of a batch: half of what its receiver takes, which leaves room for one more request.
MOST_BYTES = rpc.MAX_QUESTION // 2


class BatchedPeer(Generic[Q, A]):
    """Sends requests to a peer, and leaves one that keeps failing alone for a while.

    So a frozen peer costs a few requests its deadline and the others nothing.

    Args:
        name: For logs and faults.
        send: Makes one batched call.
        timeout_s: The longest that a request waits for its answer.
        size: Of a request, in bytes of its message.
        pause_s: How long a peer that keeps failing is left alone.
        ask: Makes a call for each request instead, with `timeout_s` as its deadline, where sharing one saves nothing.
    """

    def __init__(
        self,
        name: str,
        send: Callable[[Sequence[Q]], Any],
        timeout_s: float,
        *,
        size: Callable[[Q], int] = lambda _: 0,
        pause_s: float = PAUSE_S,
        ask: Callable[[Q], Awaitable[A]] | None = None,
    ) -> None:
        self._name = name
        self._shared: Batcher[Q, A] = Batcher(send, size=size, most_size=MOST_BYTES)
        self._ask = ask or self._wait_for_shared
        self._timeout_s = timeout_s
        # Since the last answer.
        self._failures = 0
        self._outage = Outage(
            log, f"the {name} does not answer", f"the {name} answers again", pause_s=pause_s
        )

    async def __call__(self, request: Q) -> A:
        """Send a request and return its answer.

        Raises:
            Unavailable: the peer is down, slow, or was so a moment ago.
            Fault: what the peer says is wrong with the request.
        """
        if self._outage.resting:
            raise errors.Unavailable(f"the {self._name} is down")
        try:
            answer = await self._ask(request)
        except (TimeoutError, errors.TimedOut, errors.Unavailable) as error:
            if isinstance(error, errors.Unavailable) and error.answered:
                raise
            self._failures += 1
            if self._failures >= TOLERATED_FAILURES:
                self._outage.begin(error)
            raise errors.Unavailable(f"the {self._name} does not answer") from error
        self._failures = 0
        self._outage.end()
        return answer

    async def _wait_for_shared(self, request: Q) -> A:
        async with asyncio.timeout(self._timeout_s):
            return await self._shared(request)
