"""Run the ledger: python -m services.gateway.ledger.

It reads usage and decision events from Redis streams and writes PostgreSQL: each attempt once, whatever is delivered
twice, killed or restarted. An entry is acknowledged only when its transaction has committed and Redis knows the new
sums. Any number of ledgers may run; each takes over what a dead one left.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import asyncpg
import prometheus_client
from redis.exceptions import ResponseError

from services.chassis import process, redis, redis_keys, rpc
from services.chassis.config import Secret, part, variable
from services.chassis.outage import Outage
from services.chassis.telemetry import Settings as Telemetry
from services.chassis.telemetry import replica
from services.gateway import postgres
from services.gateway.ledger import rows
from services.gateway.ledger.rows import Ended
from services.gateway.ledger.store import DATA_ERRORS, Journal, Sum
from services.gateway.limits import scripts

log = logging.getLogger("services.gateway.ledger")

# Entries booked in one transaction.
BATCH = 1000
# How long a read waits for entries, in milliseconds.
BLOCK_MS = 1000
# A ledger that is behind by less counts as up to date, in milliseconds.
BEHIND_MS = 5000
# A consumer without entries that was not heard of for so long is forgotten, in milliseconds.
GONE_MS = 3_600_000

BOOKED = prometheus_client.Counter("lumni_ledger_events", "Events booked.", ["stream"])
POISON = prometheus_client.Counter("lumni_ledger_poison_events", "Events set aside.", ["stream"])
UNKNOWN = prometheus_client.Counter("lumni_ledger_unknown_attempts", "Attempts closed at their upper bound.")
ABANDONED = prometheus_client.Counter("lumni_ledger_abandoned_reservations", "Reservations given back.")
BEHIND = prometheus_client.Gauge(
    "lumni_ledger_behind_seconds", "Age of the oldest event not booked.", ["stream"]
)
WAITING = prometheus_client.Gauge("lumni_ledger_waiting_events", "Events not yet read.", ["stream"])
DURATION = prometheus_client.Histogram("lumni_ledger_batch_seconds", "Time to book a batch.", ["stream"])

Entry: TypeAlias = tuple[str, bytes]
# An entry that cannot be booked: its id, the reason, the event.
Poison: TypeAlias = tuple[str, str, bytes]
Book: TypeAlias = Callable[[Sequence[Entry]], Awaitable[list[Poison]]]


@dataclass(frozen=True)
class Settings:
    """What the ledger needs to know."""

    database: Secret = variable("DATABASE_URL", doc="address of PostgreSQL")
    redis_url: Secret = variable("REDIS_URL", doc="address of Redis")
    interval_s: float = variable(
        "LUMNI_LEDGER_INTERVAL_S", 0.2, "shortest time between two batches of a stream"
    )
    takeover_s: float = variable(
        "LUMNI_LEDGER_TAKEOVER_S", 10.0, "after which a silent ledger's entries are taken over"
    )
    grace_s: float = variable(
        "LUMNI_LEDGER_GRACE_S", 60.0, "how long after its deadline an attempt's end is waited for"
    )
    retention_days: int = variable(
        "LUMNI_RETENTION_DAYS", 0, "days after which usage rows are deleted; 0 keeps them"
    )
    learning_days: int = variable(
        "LUMNI_LEARNING_DAYS", 90, "days after which feedback and features are deleted; 0 keeps them"
    )
    telemetry: Telemetry = part()


class Consumer:
    """Reads one stream as a member of the ledger's group."""

    def __init__(
        self,
        client: redis.Redis,
        stream: str,
        book: Book,
        bookkeeper: "Bookkeeper",
        *,
        interval_s: float,
        takeover_s: float,
    ) -> None:
        self._redis = client
        self._stream = stream
        self._book = book
        self._bookkeeper = bookkeeper
        self._interval_s = interval_s
        self._takeover_ms = int(takeover_s * 1000)
        self._name = replica()
        self._outage = Outage(log, f"{stream} wait", f"{stream} are booked again", pause_s=0.4)

    async def run(self) -> None:
        """Book until cancelled; whatever fails is tried again, and said once."""
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
                if isinstance(error, ResponseError) and _forgot(error):
                    await self._make_group()
                else:
                    self._outage.begin(error)
                    await self._outage.pause()
                continue
            left = self._interval_s - (time.monotonic() - began)
            if entries and left > 0:
                await asyncio.sleep(left)

    async def behind_ms(self) -> int:
        """By how much this group is behind on the stream, in milliseconds; 0 when it has booked everything."""
        waiting, in_work, behind = await scripts.ACKNOWLEDGE.run(
            self._redis, [self._stream], [redis_keys.LEDGER_GROUP]
        )
        BEHIND.labels(self._stream).set(behind / 1000)
        WAITING.labels(self._stream).set(max(0, waiting) + in_work)
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
        if not found:
            return []
        parts = found.values() if isinstance(found, dict) else [entries for _, entries in found]
        # RESP3 wraps the entries of a stream in one more list.
        flat = [
            entry for part in parts for one in part for entry in (one if isinstance(one, list) else [one])
        ]
        return [_entry(entry) for entry in flat]

    async def _take_over(self) -> list[Entry]:
        """What a consumer read and never acknowledged: a dead one's, or our own from a moment of trouble."""
        _, found, _ = await self._redis.xautoclaim(
            self._stream, redis_keys.LEDGER_GROUP, self._name, min_idle_time=self._takeover_ms, count=BATCH
        )
        for consumer in await self._redis.xinfo_consumers(self._stream, redis_keys.LEDGER_GROUP):
            facts = {_text(key): value for key, value in consumer.items()}
            if facts["pending"] == 0 and facts["idle"] > GONE_MS:
                await self._redis.xgroup_delconsumer(self._stream, redis_keys.LEDGER_GROUP, facts["name"])
        # An entry that was trimmed away meanwhile comes without fields.
        return [_entry(entry) for entry in found if entry[1]]

    async def _finish(self, entries: Sequence[Entry]) -> None:
        """Book entries, set aside what cannot be booked, and acknowledge them all."""
        poisoned = await self._stubbornly(lambda: self._book(entries))
        if poisoned:
            await self._stubbornly(lambda: self._bookkeeper.set_aside(self._stream, poisoned))
        BOOKED.labels(self._stream).inc(len(entries) - len(poisoned))
        ids = [entry_id for entry_id, _ in entries]
        waiting, in_work, behind = await scripts.ACKNOWLEDGE.run(
            self._redis, [self._stream], [redis_keys.LEDGER_GROUP, *ids]
        )
        BEHIND.labels(self._stream).set(behind / 1000)
        WAITING.labels(self._stream).set(max(0, waiting) + in_work)

    async def _stubbornly(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """Do it until PostgreSQL and Redis both did it."""
        while True:
            try:
                done = await work()
            except postgres.CONFLICTS:
                # Somebody else wrote the same sums at the same moment.
                await asyncio.sleep(random.uniform(0.01, 0.1))
            except redis.ERRORS as error:
                self._outage.begin(error)
                await self._outage.pause()
            except (*postgres.ERRORS, asyncpg.PostgresError) as error:
                self._outage.begin(error)
                await self._outage.pause()
            else:
                self._outage.end()
                return done


class Bookkeeper:
    """Books events in the journal, and tells Redis the sums."""

    def __init__(self, client: redis.Redis, journal: Journal) -> None:
        self._redis = client
        self._journal = journal

    async def usage(self, entries: Sequence[Entry]) -> list[Poison]:
        """Book usage events; those that cannot be booked, with the reasons."""
        return await _isolating(entries, rows.usage, self.book)

    async def decisions(self, entries: Sequence[Entry]) -> list[Poison]:
        """Book decision events; those that cannot be booked, with the reasons."""
        return await _isolating(entries, rows.decision, self._journal.decide)

    async def book(self, events: Sequence[rows.Started | Ended]) -> None:
        """Write events in one transaction, and tell Redis the sums.

        Raises:
            DATA_ERRORS, postgres.ERRORS, postgres.CONFLICTS: as `Journal.book`.
            redis.ERRORS: they are written, but Redis was not told; the same again tells it.
        """
        sums = await self._journal.book(events)
        await self._tell_sums(sums, [event for event in events if isinstance(event, Ended)])

    async def _tell_sums(self, sums: Sequence[Sum], ended: Sequence[Ended]) -> None:
        if not ended:
            return
        told = {
            "prefix": redis_keys.MONEY,
            "sums": [[f"{one.subject}:{one.period}", one.nano_usd, one.version] for one in sums],
            "attempts": [[one.request_id, one.number, one.last] for one in ended],
        }
        (answer,) = await scripts.run_all(scripts.BOOK, self._redis, [told])
        if isinstance(answer, Exception):
            raise answer

    async def close_overdue(self) -> None:
        """Book attempts whose end never came as unknown, at their upper bound; set aside what cannot be booked."""
        while overdue := await self._journal.overdue():
            poisoned = await _isolating(overdue, rows.unknown, self._close)
            UNKNOWN.inc(len(overdue) - len(poisoned))
            log.warning("%d attempts ended without a word; booked at their bounds", len(overdue))
            if poisoned:
                await self.set_aside(redis_keys.USAGE_STREAM, poisoned)
                await self._journal.forget([attempt_id for attempt_id, _, _ in poisoned])

    async def _close(self, ended: Sequence[Ended]) -> None:
        while True:
            try:
                return await self.book(ended)
            except redis.ERRORS:
                # They are not overdue any more, so nobody else would tell Redis.
                await asyncio.sleep(random.uniform(0.2, 0.6))

    async def set_aside(self, stream: str, poisoned: Sequence[Poison]) -> None:
        """Keep what cannot be booked, with the reasons."""
        await self._journal.set_aside(stream, poisoned)
        POISON.labels(stream).inc(len(poisoned))
        log.error("%d events were set aside: %s", len(poisoned), poisoned[0][1])

    async def release_abandoned(self) -> None:
        """Give back what requests hold that are over, while nothing of theirs is under way or on its way here."""
        seconds, _ = await self._redis.time()
        found = await self._redis.zrange(
            redis_keys.RESERVATIONS,
            "-inf",
            str(int(seconds) * 1000 - BEHIND_MS),
            byscore=True,
            offset=0,
            num=1000,
        )
        overdue = [_text(ident) for ident in found]
        if not overdue:
            return
        under_way = await self._journal.under_way(overdue)
        over = [ident for ident in overdue if ident not in under_way]
        asks = [{"prefix": redis_keys.MONEY, "request": ident, "attempts": []} for ident in over]
        for ident, answer in zip(over, await scripts.run_all(scripts.SETTLE, self._redis, asks), strict=True):
            if answer == 0:
                # The reservation itself is gone, with what it held.
                await self._redis.zrem(redis_keys.RESERVATIONS, ident)
            ABANDONED.inc()


async def _isolating(
    entries: Sequence[Entry], read: Callable[[bytes], Any], write: Callable[[Sequence[Any]], Awaitable[None]]
) -> list[Poison]:
    """Write events together, or by halves until the ones that cannot be written stand alone."""
    poisoned: list[Poison] = []
    good: list[tuple[Entry, Any]] = []
    for entry in entries:
        try:
            good.append((entry, read(entry[1])))
        except ValueError as error:
            poisoned.append((entry[0], str(error), entry[1]))
    portions = [good] if good else []
    while portions:
        portion = portions.pop()
        try:
            await write([event for _, event in portion])
        except DATA_ERRORS as error:
            if len(portion) == 1:
                entry = portion[0][0]
                poisoned.append((entry[0], f"{type(error).__name__}: {error}", entry[1]))
            else:
                half = len(portion) // 2
                portions += [portion[half:], portion[:half]]
    return poisoned


class Housekeeper:
    """What must be done now and then."""

    def __init__(
        self,
        bookkeeper: Bookkeeper,
        journal: Journal,
        usage: Consumer,
        decisions: Consumer,
        *,
        pause_s: float = 5.0,
        retention_days: int = 0,
        learning_days: int = 0,
    ) -> None:
        self._bookkeeper = bookkeeper
        self._journal = journal
        self._usage = usage
        self._decisions = decisions
        # What is kept for so many days, and what deletes a batch of it. Nothing learnt outlives its usage row.
        self._kept = [
            (retention_days, journal.prune),
            (min(filter(None, (retention_days, learning_days)), default=0), journal.prune_learning),
        ]
        self._pause_s = pause_s

    async def run(self) -> None:
        """Keep house until cancelled; what fails is tried again next time."""
        partitions_at = 0.0
        prune_at = [0.0] * len(self._kept)
        outage = Outage(log, "housekeeping waits", "housekeeping goes on")
        while True:
            try:
                now = time.monotonic()
                if now >= partitions_at:
                    await self._journal.make_partitions(datetime.now(UTC))
                    await self._journal.forget_erased()
                    partitions_at = now + 3600
                for place, (days, prune) in enumerate(self._kept):
                    if days and now >= prune_at[place]:
                        before = datetime.now(UTC) - timedelta(days=days)
                        # In bounded batches, one a round, so that nobody waits for it.
                        prune_at[place] = now + (0 if await prune(before) else 3600)
                await self._decisions.behind_ms()
                # Only who has heard everything may say that there is nothing to hear.
                if await self._usage.behind_ms() < BEHIND_MS:
                    await self._bookkeeper.close_overdue()
                    await self._bookkeeper.release_abandoned()
                outage.end()
            except (*redis.ERRORS, *postgres.ERRORS, asyncpg.PostgresError) as error:
                outage.begin(error)
            await asyncio.sleep(self._pause_s)


def _forgot(error: ResponseError) -> bool:
    """Whether the stream or its group is gone, as after a restart without data."""
    return "NOGROUP" in str(error) or "no such key" in str(error)


def _entry(entry: Any) -> Entry:
    entry_id, fields = entry
    event = fields.get(redis_keys.EVENT_FIELD.encode(), b"")
    return _text(entry_id), event


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


async def main(settings: Settings) -> None:
    """Put the parts together and book until asked to stop."""
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(
            postgres.pool(settings.database.reveal(), size=4, timeout_s=30.0)
        )
        client = redis.connect(settings.redis_url.reveal(), timeout_s=BLOCK_MS / 1000 + 2, connections=8)
        stack.push_async_callback(client.aclose)
        journal = Journal(pool, grace_s=settings.grace_s)
        bookkeeper = Bookkeeper(client, journal)
        usage, decisions = (
            Consumer(
                client,
                stream,
                book,
                bookkeeper,
                interval_s=settings.interval_s,
                takeover_s=settings.takeover_s,
            )
            for stream, book in (
                (redis_keys.USAGE_STREAM, bookkeeper.usage),
                (redis_keys.DECISION_STREAM, bookkeeper.decisions),
            )
        )
        housekeeper = Housekeeper(
            bookkeeper,
            journal,
            usage,
            decisions,
            retention_days=settings.retention_days,
            learning_days=settings.learning_days,
        )
        tasks = [asyncio.create_task(part.run()) for part in (usage, decisions, housekeeper)]
        waiter = asyncio.create_task(rpc.until_stopped())
        log.info("the ledger is open")
        done, _ = await asyncio.wait([waiter, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in (waiter, *tasks):
            task.cancel()
        await asyncio.wait([waiter, *tasks])
        for task in done - {waiter}:
            # A part that ended by itself ended by a mistake of ours: the supervisor starts us anew.
            task.result()


if __name__ == "__main__":
    process.run("ledger", Settings, main)
