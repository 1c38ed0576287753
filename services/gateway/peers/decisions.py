"""Decisions on their way to the ledger: published to a Redis stream in the background, never waited for.

A decision explains a cost and is none, so while Redis is gone the newest stay pending in memory up to a bound, and
the rest are dropped and counted.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import prometheus_client
from lumni.events.v1 import events_pb2

from services.chassis import redis, redis_keys
from services.chassis.outage import Outage

log = logging.getLogger(__name__)

DROPPED = prometheus_client.Counter(
    "lumni_gateway_dropped_decisions", "Decisions that found no place while Redis was gone."
)
MOST_PENDING = 10_000
BATCH = 500
# Entries the stream keeps; the ledger reads far ahead of it.
STREAM_LENGTH = 1_000_000
RETRY_S = 0.5


class DecisionPublisher:
    """Keeps decisions pending until Redis has them."""

    def __init__(self, client: redis.Redis, *, most_pending: int = MOST_PENDING) -> None:
        self._redis = client
        self._pending: deque[bytes] = deque(maxlen=most_pending)
        self._wake = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._outage = Outage(
            log,
            f"decisions cannot be published; up to {most_pending} stay pending",
            "decisions are published again",
            pause_s=RETRY_S,
        )

    def publish(self, event: events_pb2.DecisionEvent) -> None:
        """Take a decision; returns at once."""
        if len(self._pending) == self._pending.maxlen:
            DROPPED.inc()
        self._pending.append(event.SerializeToString())
        self._empty.clear()
        self._wake.set()

    @asynccontextmanager
    async def publishing(self) -> AsyncIterator[None]:
        """Publish in the background until the block ends, then what is pending within a second."""
        task = asyncio.create_task(self._publish())
        try:
            yield
        finally:
            try:
                async with asyncio.timeout(1):
                    await self._empty.wait()
            except TimeoutError:
                DROPPED.inc(len(self._pending))
            task.cancel()
            await asyncio.wait([task])

    async def _publish(self) -> None:
        while True:
            await self._wake.wait()
            batch = [self._pending[i] for i in range(min(BATCH, len(self._pending)))]
            try:
                async with self._redis.pipeline(transaction=False) as pipe:
                    for event in batch:
                        pipe.xadd(
                            redis_keys.DECISION_STREAM,
                            {redis_keys.EVENT_FIELD: event},
                            maxlen=STREAM_LENGTH,
                            approximate=True,
                        )
                    await pipe.execute()
            except redis.ERRORS as error:
                self._outage.begin(error)
                await self._outage.pause()
                continue
            self._outage.end()
            for _ in batch:
                if self._pending:
                    self._pending.popleft()
            if not self._pending:
                self._wake.clear()
                self._empty.set()
