"""Adaptive batches: one call in flight, and what arrives meanwhile goes in the next.

A lone request is sent at once; under load the cost of a call is shared by all that arrived while the one before
was under way. Measured in docs/architecture.md.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")


class Batcher(Generic[Q, A]):
    """Sends single requests in batches.

    Args:
        send: Makes one call; returns one result for each request, in order, an exception where that one failed.
        most: The most requests of a batch.
        unclaimed: Called with each request that was sent and whose caller was cancelled before its result was read.
        size: Of a request, in whatever unit.
        most_size: The most of it that a batch has, unless a single request has more.
    """

    def __init__(
        self,
        send: Callable[[Sequence[Q]], Awaitable[Sequence[A | Exception]]],
        most: int = 256,
        unclaimed: Callable[[Q], None] = lambda _: None,
        *,
        size: Callable[[Q], int] = lambda _: 0,
        most_size: int = 0,
    ) -> None:
        self._send = send
        self._most = most
        self._size = size
        self._most_size = most_size
        self._unclaimed = unclaimed
        self._waiting: list[tuple[Q, asyncio.Future[A]]] = []
        self._sender: asyncio.Task[None] | None = None

    async def __call__(self, request: Q) -> A:
        """Send a request and wait for its own result; its cancellation does not affect the others."""
        result: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, result))
        if self._sender is None:
            self._sender = asyncio.create_task(self._run())
        try:
            return await result
        except asyncio.CancelledError:
            if not result.cancelled():
                # Cancelled between the result and the moment of reading it.
                self._unclaimed(request)
            raise

    async def _run(self) -> None:
        try:
            while self._waiting:
                count = self._fitting()
                batch, self._waiting = self._waiting[:count], self._waiting[count:]
                await self._deliver([item for item in batch if not item[1].done()])
        finally:
            self._sender = None

    def _fitting(self) -> int:
        """How many of those that wait make up the next batch: at least one."""
        size = 0
        for count, (request, _) in enumerate(self._waiting[: self._most]):
            size += self._size(request)
            if count and size > self._most_size:
                return count
        return self._most

    async def _deliver(self, batch: list[tuple[Q, asyncio.Future[A]]]) -> None:
        if not batch:
            return
        try:
            results = await self._send([request for request, _ in batch])
        except Exception as error:  # noqa: BLE001  (whatever it was, it belongs to the callers)
            results = [error] * len(batch)
        for (request, future), result in zip(batch, results, strict=True):
            if future.done():
                self._unclaimed(request)
            elif isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
