"""Decisions on their way to the ledger, and the usage of cached answers: published in the background, never waited for.

Neither is a cost, so while Redis is gone the newest stay pending in memory up to a bound, and
the rest are dropped and counted.
"""

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import prometheus_client
from lumni.events.v1 import events_pb2

from services.chassis import measuring, redis, redis_keys, stream_partitions, telemetry
from services.chassis.backlog import Backlog
from services.chassis.outage import Outage

log = logging.getLogger(__name__)

DROPPED = prometheus_client.Counter(
    "lumni_gateway_dropped_decisions",
    "Decisions, and usage of cached answers, that found no place while Redis was gone.",
)
WAITING = prometheus_client.Gauge(
    "lumni_gateway_waiting_decisions",
    "Decisions that Redis does not have yet.",
    multiprocess_mode="livesum",
)
MOST_PENDING = 10_000
BATCH = 500
# Entries the stream keeps; the ledger reads far ahead of it.
STREAM_LENGTH = 1_000_000
RETRY_S = 0.5


class DecisionPublisher:
    """Keeps events pending until Redis has them."""

    def __init__(self, client: redis.Redis, *, most_pending: int = MOST_PENDING, partitions: int = 1) -> None:
        self._redis = client
        process = telemetry.replica()
        self._decisions = stream_partitions.own(redis_keys.DECISION_STREAM, partitions, process)
        self._usage = stream_partitions.own(redis_keys.USAGE_STREAM, partitions, process)
        self._pending: Backlog[tuple[bool, bytes]] = Backlog(self._append, batch=BATCH, most=most_pending)
        measuring.follow(WAITING, lambda: len(self._pending))
        self._outage = Outage(
            log,
            f"decisions cannot be published; up to {most_pending} stay pending",
            "decisions are published again",
            pause_s=RETRY_S,
        )

    def publish(self, event: events_pb2.DecisionEvent | events_pb2.UsageEvent) -> None:
        """Take an event; returns at once."""
        is_decision = isinstance(event, events_pb2.DecisionEvent)
        if self._pending.append((is_decision, event.SerializeToString())):
            DROPPED.inc()

    @asynccontextmanager
    async def publishing(self) -> AsyncIterator[None]:
        """Publish in the background until the block ends, then what is pending within a second."""
        try:
            async with self._pending.delivering():
                yield
        finally:
            DROPPED.inc(len(self._pending))

    async def _append(self, batch: Sequence[tuple[bool, bytes]]) -> bool:
        try:
            redis.checked(await redis.exchange(self._redis, [self._command(*one) for one in batch]))
        except redis.ERRORS as error:
            self._outage.begin(error)
            await self._outage.pause()
            return False
        self._outage.end()
        return True

    def _command(self, is_decision: bool, event: bytes) -> redis.Command:
        what = (redis_keys.EVENT_FIELD, event)
        if is_decision:
            return ("XADD", self._decisions, "MAXLEN", "~", STREAM_LENGTH, "*", *what)
        # What costs money loses nothing to make room, and where its stream is gone the executors must find that out.
        return ("XADD", self._usage, "NOMKSTREAM", "*", *what)
