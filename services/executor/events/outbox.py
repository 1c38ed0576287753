"""The outbox of usage events: what the ledger must get, whatever happens to Redis, the disk or this process.

All events of a moment are published together: appended to the Redis stream, or spooled to disk while Redis takes none.
An attempt may begin once its `started` event is in one of the two. The ledger counts each attempt once, so publishing
an event twice is harmless and losing one is not: an event is kept, in memory or in a spooled segment, until the ledger
has acknowledged it, and published again should Redis have lost it meanwhile.
"""

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path

import prometheus_client

from services.chassis import errors, measuring, redis_keys
from services.chassis.background import beside
from services.chassis.redis import ERRORS, Redis
from services.executor.attempts import messages
from services.executor.attempts.model import Attempt, Work
from services.executor.events.spool import Segment, Spool
from services.executor.events.stream import Appended, Progress, UsageStream

log = logging.getLogger(__name__)

# How often the spool and the ledger's progress are looked at, and how soon a failed disk is tried again, in seconds.
RETRY_S = 1.0
# Events published at once.
BATCH = 512
# Appended events that memory keeps for a ledger that is behind; more go to disk.
KEPT = 20_000

SPOOLED = prometheus_client.Gauge(
    "lumni_usage_spooled_events", "Usage events on disk that the ledger lacks.", multiprocess_mode="livesum"
)
EVENTS = prometheus_client.Counter("lumni_usage_events", "Usage events, by where they were put.", ["to"])


@dataclass(frozen=True, slots=True)
class _Pending:
    """An event that is nowhere yet but in memory; `durable` is done once it is."""

    event: bytes
    durable: asyncio.Future[None] | None = None


class Outbox:
    """The usage events of this process.

    Args:
        redis: Where the stream is; None leaves all events in the spool.
        stream: The partition that this process appends to.
        folder: Where the spool is.

    """

    def __init__(self, redis: Redis | None, folder: Path, stream: str = redis_keys.USAGE_STREAM) -> None:
        """Take over what died processes left behind.

        Raises:
            OSError: the folder cannot be written.

        """
        self._stream = UsageStream(redis, stream) if redis is not None else None
        self._spool = Spool(folder)
        self._pending: list[_Pending] = []
        self._awake = asyncio.Event()
        # What the ledger has not acknowledged yet: single events, and segments by the last of their events.
        self._appended: list[Appended] = []
        self._replayed: dict[Segment, Appended] = {}
        measuring.follow(SPOOLED, lambda: self._spool.events)

    async def started(self, work: Work, attempt: Attempt) -> None:
        """Record an attempt before its provider is called; returns once the record is durable.

        Raises:
            Unavailable: neither Redis nor the disk took it.
        """
        durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._add([_Pending(messages.event(work, attempt).SerializeToString(), durable)])
        await durable

    def ended(self, work: Work, attempt: Attempt) -> None:
        """Record how an attempt ended; published with the next batch."""
        self._add([_Pending(messages.event(work, attempt).SerializeToString())])

    async def run(self) -> None:
        """Publish events as they come, until cancelled; then publish what is left."""
        try:
            async with beside(self._maintain()):
                while True:
                    await self._awake.wait()
                    self._awake.clear()
                    await self._publish_pending()
        finally:
            await self._publish_pending()
            self._spool.close()

    def _add(self, pending: list[_Pending]) -> None:
        self._pending += pending
        self._awake.set()

    async def _publish_pending(self) -> None:
        while self._pending:
            batch, self._pending = self._pending[:BATCH], self._pending[BATCH:]
            try:
                await self._publish([one.event for one in batch])
            except OSError as error:
                log.error("usage events can be appended neither to Redis nor to disk: %s", error)  # noqa: TRY400  (expected)
                self._reject(batch)
                return
            except BaseException:
                # Cancelled in the middle: the drain publishes them again, and the ledger counts them once.
                self._pending = batch + self._pending
                raise
            for one in batch:
                if one.durable is not None and not one.durable.done():
                    one.durable.set_result(None)

    async def _publish(self, events: list[bytes]) -> None:
        """Append events to the stream, or spool them.

        Raises:
            OSError: neither is possible.
        """
        appended = await self._append(events)
        if appended is not None:
            self._appended += appended
            return
        await self._spool.append(events)
        EVENTS.labels("disk").inc(len(events))

    async def _append(self, events: list[bytes]) -> list[Appended] | None:
        appended = await self._stream.append(events) if self._stream is not None else None
        if appended is not None:
            EVENTS.labels("redis").inc(len(events))
        return appended

    def _reject(self, batch: list[_Pending]) -> None:
        """Fail the attempts that would begin; ends of others stay in memory, for the next time."""
        for one in batch:
            if one.durable is not None and not one.durable.done():
                one.durable.set_exception(
                    errors.Unavailable(
                        "usage cannot be recorded, so no provider is called",
                        reason="LEDGER_UNAVAILABLE",
                        retry_after_s=RETRY_S,
                    )
                )
        self._pending = [one for one in batch if one.durable is None] + self._pending
        asyncio.get_running_loop().call_later(RETRY_S, self._awake.set)

    async def _maintain(self) -> None:
        """Look after what the ledger has not acknowledged, until cancelled."""
        while self._stream is not None:
            await asyncio.sleep(RETRY_S)
            try:
                await self._replay(self._stream)
                # At first in any case: only who knows the server sees that it is another one.
                if self._appended or self._replayed or not self._stream.is_known:
                    await self._follow(await self._stream.progress())
            except ERRORS as error:
                log.debug("the spool is kept, Redis does not answer: %s", type(error).__name__)
            except Exception:
                # Usage is money, so this task outlives every surprise: it logs it and tries again.
                log.exception("looking after the spool failed")

    async def _replay(self, stream: UsageStream) -> None:
        """Append what is spooled to the stream."""
        if stream.resting:
            return
        await stream.ping()
        while (found := await self._spool.next_unpublished()) is not None:
            segment, events = found
            for start in range(0, len(events), BATCH):
                appended = await self._append(events[start : start + BATCH])
                if appended is None:
                    return
                last = appended[-1]
            self._spool.keep(segment)
            self._replayed[segment] = last
            log.info("%d spooled usage events were published", len(events))

    async def _follow(self, progress: Progress) -> None:
        """Forget what the ledger has acknowledged, and publish again what Redis lost."""
        lost = [_Pending(one.event) for one in self._appended if progress.is_lost(one)]
        if lost:
            log.warning("Redis may have lost %d usage events, they are published again", len(lost))
            self._add(lost)
        self._appended = [
            one for one in self._appended if not progress.is_lost(one) and not progress.is_acknowledged(one)
        ]
        for segment, last in list(self._replayed.items()):
            if progress.is_lost(last):
                del self._replayed[segment]
                self._spool.republish(segment)
            elif progress.is_acknowledged(last):
                del self._replayed[segment]
                await self._spool.delete(segment)
        if (behind := len(self._appended)) > KEPT:
            await self._spool.append([one.event for one in self._appended])
            self._appended = self._appended[behind:]
