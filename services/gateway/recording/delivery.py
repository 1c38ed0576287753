"""Records on their way to a destination that may be slow or gone: bounded in memory, delivered in the background."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import prometheus_client

from services.chassis.backlog import Backlog
from services.gateway.recording.record import Record

# Records that wait for one destination, in bytes of theirs; more are dropped and counted.
MOST_WAITING = 32 * 1024 * 1024
# The same of one batch, half of which is texts: what a destination takes well within its deadline.
HEAVIEST_BATCH = 8 * 1024 * 1024

DROPPED = prometheus_client.Counter(
    "lumni_gateway_dropped_request_logs",
    "Recorded requests that found no place, by where: file, database or object_storage was slow, full or gone.",
    ["to"],
)


class Delivery:
    """Delivers records in batches; whoever adds one never waits.

    Args:
        to: The destination, as the metric names it.
        send: Hands a batch over. False keeps it for another try; the pause before that is its own.
        batch: The most records of a batch.
    """

    def __init__(self, to: str, send: Callable[[Sequence[Record]], Awaitable[bool]], *, batch: int) -> None:
        self._to = to
        self._send = send
        self._backlog: Backlog[Record] = Backlog(
            self._deliver, batch=batch, size=lambda one: one.size, heaviest=HEAVIEST_BATCH
        )
        self._waiting = 0

    def add(self, record: Record) -> None:
        """Take a record of a request that is over; returns at once."""
        if self._waiting + record.size > MOST_WAITING:
            DROPPED.labels(self._to).inc()
            return
        self._waiting += record.size
        self._backlog.append(record)

    @asynccontextmanager
    async def delivering(self) -> AsyncIterator[None]:
        """Deliver in the background until the block ends, then what is left within a second."""
        try:
            async with self._backlog.delivering():
                yield
        finally:
            DROPPED.labels(self._to).inc(len(self._backlog))

    async def _deliver(self, batch: Sequence[Record]) -> bool:
        try:
            done = await self._send(batch)
        except Exception:
            # The backlog logs it and gives the batch up.
            DROPPED.labels(self._to).inc(len(batch))
            self._release(batch)
            raise
        if done:
            self._release(batch)
        return done

    def _release(self, batch: Sequence[Record]) -> None:
        self._waiting -= sum(one.size for one in batch)
