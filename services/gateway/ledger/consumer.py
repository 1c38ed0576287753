"""One stream, read as a member of the ledger's consumer group.

An entry is acknowledged only when its transaction has committed and Redis has the new sums. What a dead member read and
never acknowledged is taken over.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import prometheus_client
from redis.exceptions import ResponseError

from services.chassis import redis, redis_keys
from services.chassis.lua import Script
from services.chassis.outage import Outage
from services.chassis.telemetry import replica
from services.gateway import postgres
from services.gateway.ledger.writer import Entry

log = logging.getLogger(__name__)

# Entries written in one transaction.
BATCH = 1000
# How long a read waits for entries, in milliseconds.
BLOCK_MS = 1000
# A consumer without entries that did nothing for so long is removed from the group, in milliseconds.
GONE_MS = 3_600_000
ACKNOWLEDGE = Script(Path(__file__).with_name("acknowledge.lua").read_text(encoding="utf-8"))

BEHIND = prometheus_client.Gauge(
    "lumni_ledger_behind_seconds", "Age of the oldest event not written.", ["stream"]
)
PENDING = prometheus_client.Gauge("lumni_ledger_waiting_events", "Events not acknowledged.", ["stream"])
DURATION = prometheus_client.Histogram("lumni_ledger_batch_seconds", "Time to write a batch.", ["stream"])

Write: TypeAlias = Callable[[str, Sequence[Entry]], Awaitable[None]]


class Consumer:
    """Reads a stream in batches and writes each until it is written."""

    def __init__(
        self,
        client: redis.Redis,
        stream: str,
        write: Write,
        *,
        interval_s: float,
        takeover_s: float,
    ) -> None:
        """Read `stream` from `client`.

        Args:
            client: Its commands may block for `BLOCK_MS`.
            stream: Usage or decisions.
            write: Writes entries of this stream, or sets them aside.
            interval_s: The shortest time between two batches.
            takeover_s: After which another consumer's pending entries are taken over.
        """
        self._redis = client
        self._stream = stream
        self._write = write
        self._interval_s = interval_s
        self._takeover_ms = int(takeover_s * 1000)
        self._name = replica()
        # By how much this group was behind when that was last measured, in seconds.
        self.behind_s = 0.0
        self._outage = Outage(log, f"{stream} cannot be written", f"{stream} is written again", pause_s=0.4)

    async def run(self) -> None:
        """Write until cancelled; whatever fails is tried again, and logged once."""
        takeover_at = 0.0
        while True:
            began = time.monotonic()
            try:
                if began >= takeover_at:
                    entries = await self._take_over()
                    takeover_at = began if entries else began + self._takeover_ms / 1000
                else:
                    entries = await self._read()
                if entries:
                    with DURATION.labels(self._stream).time():
                        await self._finish(entries)
                self._outage.end()
            except redis.ERRORS as error:
                if isinstance(error, ResponseError) and _is_lost(error):
                    await self._make_group()
                else:
                    self._outage.begin(error)
                    await self._outage.pause()
                continue
            left = self._interval_s - (time.monotonic() - began)
            if entries and left > 0:
                await asyncio.sleep(left)

    async def behind_ms(self) -> int:
        """By how much this group is behind on the stream, in milliseconds; 0 when it has written everything.

        Raises:
            redis.ERRORS: Redis does not answer.
        """
        return await self._acknowledge([])

    async def _acknowledge(self, ids: Sequence[str]) -> int:
        unread, pending, behind = await ACKNOWLEDGE.run(
            self._redis, [self._stream], [redis_keys.LEDGER_GROUP, *ids]
        )
        self.behind_s = behind / 1000
        BEHIND.labels(self._stream).set(self.behind_s)
        PENDING.labels(self._stream).set(max(0, unread) + pending)
        return int(behind)

    async def _make_group(self) -> None:
        try:
            await self._redis.xgroup_create(self._stream, redis_keys.LEDGER_GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise
        except redis.ERRORS as error:
            self._outage.begin(error)
            await self._outage.pause()

    async def _read(self) -> list[Entry]:
        found = await self._redis.xreadgroup(
            redis_keys.LEDGER_GROUP, self._name, {self._stream: ">"}, count=BATCH, block=BLOCK_MS
        )
        return [_event(entry) for entry in redis.entries(found)]

    async def _take_over(self) -> list[Entry]:
        """What a consumer read and never acknowledged: a dead one's, or our own from a moment of trouble."""
        _, found, _ = await self._redis.xautoclaim(
            self._stream, redis_keys.LEDGER_GROUP, self._name, min_idle_time=self._takeover_ms, count=BATCH
        )
        for consumer in await self._redis.xinfo_consumers(self._stream, redis_keys.LEDGER_GROUP):
            facts = {redis.text(key): value for key, value in consumer.items()}
            if facts["pending"] == 0 and facts["idle"] > GONE_MS:
                await self._redis.xgroup_delconsumer(self._stream, redis_keys.LEDGER_GROUP, facts["name"])
        # An entry that was trimmed away meanwhile comes without fields.
        return [_event((redis.text(entry_id), fields)) for entry_id, fields in found if fields]

    async def _finish(self, entries: Sequence[Entry]) -> None:
        """Write entries until PostgreSQL and Redis both have them, and acknowledge them."""
        while True:
            try:
                await self._write(self._stream, entries)
            except postgres.CONFLICTS:
                # Another ledger process wrote the same sums at the same moment.
                await asyncio.sleep(random.uniform(0.01, 0.1))
            except (*redis.ERRORS, *postgres.FAILURES) as error:
                self._outage.begin(error)
                await self._outage.pause()
            else:
                break
        self._outage.end()
        await self._acknowledge([entry_id for entry_id, _ in entries])


def _is_lost(error: ResponseError) -> bool:
    """Whether the stream or its group is gone, as after a restart without data."""
    return "NOGROUP" in str(error) or "no such key" in str(error)


def _event(entry: redis.Entry) -> Entry:
    entry_id, fields = entry
    return entry_id, fields.get(redis_keys.EVENT_FIELD.encode(), b"")
