"""Usage events on their way to the ledger: appended to a Redis stream, or spooled to disk while Redis is gone.

All events of a moment are told together, and an attempt may begin once its `started` record is told. The ledger
counts each attempt once, so telling an event twice is harmless and losing one is not: an event is kept, in memory or
in a spooled segment, until the ledger has acknowledged it, and told again should Redis have lost its memory meanwhile.
"""

import asyncio
import itertools
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple, cast
from uuid import uuid4

import prometheus_client

from services.chassis import errors, redis_keys
from services.chassis.redis import ERRORS, Redis
from services.executor.attempts import messages
from services.executor.attempts.model import Attempt, Work
from services.executor.events import spans
from services.executor.events.spool import SUFFIX, Segment, abandoned

log = logging.getLogger(__name__)

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

# How long Redis is left alone after it failed, and how often the spool is looked after, in seconds.
RETRY_S = 1.0
# Events told to Redis in one go.
BATCH = 512
# Told events that memory keeps for a ledger that is behind; more go to disk.
KEPT = 20_000

SPOOLED = prometheus_client.Gauge("lumni_usage_spooled_events", "Usage events on disk that the ledger lacks.")
EVENTS = prometheus_client.Counter("lumni_usage_events", "Usage events, by where they were told.", ["to"])


@dataclass(frozen=True, slots=True)
class _Told:
    """An event that is in the stream of a memory of Redis, waiting for the ledger."""

    event: bytes
    ident: str
    memory: str


@dataclass(frozen=True, slots=True)
class _Replayed:
    """A segment whose events are in the stream, waiting for the ledger; `last` is the newest of them."""

    segment: Segment
    last: _Told


class Books:
    """The usage events of this process."""

    def __init__(self, redis: Redis | None, folder: Path) -> None:
        """Take over what died processes left behind.

        Raises:
            OSError: the folder cannot be written.

        """
        folder.mkdir(parents=True, exist_ok=True)
        self._redis = redis
        self._folder = folder
        self._waiting: list[tuple[bytes, asyncio.Future[None] | None]] = []
        self._awake = asyncio.Event()
        self._redis_down_until = 0.0
        self._redis_is_down = False
        self._numbers = itertools.count()
        # All that is done to segments is done in this one thread, so that none is read before it is written.
        self._disk = ThreadPoolExecutor(1, "spool")
        self._open: Segment | None = None
        self._to_replay = abandoned(folder)
        self._replayed: list[_Replayed] = []
        self._told: list[_Told] = []
        self._redis_process = ""
        SPOOLED.set_function(lambda: sum(segment.events for segment in self._segments()))

    async def started(self, work: Work, attempt: Attempt) -> None:
        """Record an attempt before its provider is called; returns once the record is durable.

        Raises:
            Unavailable: neither Redis nor the disk took it.
        """
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((messages.event(work, attempt).SerializeToString(), told))
        self._awake.set()
        await told

    def ended(self, work: Work, attempt: Attempt) -> None:
        """Record how an attempt ended; told with the next batch."""
        spans.record(work.operation, attempt)
        self._waiting.append((messages.event(work, attempt).SerializeToString(), None))
        self._awake.set()

    async def run(self) -> None:
        """Tell events as they come, until cancelled; then tell what is left."""
        spooler = asyncio.create_task(self._look_after_spool())
        try:
            while True:
                await self._awake.wait()
                self._awake.clear()
                await self._tell_all()
        finally:
            spooler.cancel()
            with suppress(asyncio.CancelledError):
                await spooler
            await self._tell_all()
            self._disk.shutdown()
            for segment in self._segments():
                segment.close()

    async def _tell_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
            events = [event for event, _ in batch]
            problem: BaseException | None = None
            try:
                appended = await self._append(events)
                if appended is None:
                    await self._on_disk(self._spool, events)
                else:
                    self._told += appended
            except OSError as error:
                log.error("usage events cannot be told to Redis nor written to disk: %s", error)  # noqa: TRY400  (expected)
                problem = errors.Unavailable(
                    "usage cannot be recorded, so no provider is called", reason="LEDGER_UNAVAILABLE"
                )
                problem.retry_after_s = RETRY_S
                self._keep([pair for pair in batch if pair[1] is None])
            except BaseException:
                # Cancelled in the middle: whoever drains tells them again, and the ledger counts them once.
                self._waiting = batch + self._waiting
                raise
            for _, told in batch:
                if told is not None and not told.done():
                    if problem is None:
                        told.set_result(None)
                    else:
                        told.set_exception(problem)
            if problem is not None:
                return

    def _keep(self, ends: list[tuple[bytes, asyncio.Future[None] | None]]) -> None:
        """Ends that nobody took stay in memory, for the next time."""
        self._waiting = ends + self._waiting
        asyncio.get_running_loop().call_later(RETRY_S, self._awake.set)

    async def _append(self, events: list[bytes]) -> list[_Told] | None:
        """Append events to the stream; None when Redis does not take them."""
        if self._redis is None or time.monotonic() < self._redis_down_until:
            return None
        try:
            # In one transaction with the name of the memory that holds them.
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.set(redis_keys.USAGE_MEMORY, uuid4().hex, nx=True)
                pipe.get(redis_keys.USAGE_MEMORY)
                for event in events:
                    pipe.xadd(redis_keys.USAGE_STREAM, {redis_keys.EVENT_FIELD: event})
                _, memory, *idents = await pipe.execute()
        except ERRORS as error:
            self._redis_down_until = time.monotonic() + RETRY_S
            if not self._redis_is_down:
                self._redis_is_down = True
                log.warning("Redis takes no usage events, they are spooled to disk: %s", type(error).__name__)
            return None
        if self._redis_is_down:
            self._redis_is_down = False
            log.warning("Redis takes usage events again")
        EVENTS.labels("redis").inc(len(events))
        return [
            _Told(event, _text(ident), _text(memory)) for event, ident in zip(events, idents, strict=True)
        ]

    async def _on_disk(self, work: Callable[[*Ts], T], *args: *Ts) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._disk, work, *args)

    def _spool(self, events: list[bytes]) -> None:
        if self._open is None:
            name = f"{time.time_ns()}-{next(self._numbers)}{SUFFIX}"
            self._open = Segment(self._folder / name)
        self._open.append(events)
        EVENTS.labels("disk").inc(len(events))

    def _close_open(self) -> None:
        """The open segment is complete: the next event opens another."""
        if self._open is not None:
            self._to_replay.append(self._open)
            self._open = None

    async def _look_after_spool(self) -> None:
        while True:
            await asyncio.sleep(RETRY_S)
            if self._redis is None:
                continue
            try:
                await self._replay()
                await self._drop_acknowledged()
            except ERRORS as error:
                log.debug("the spool waits for Redis: %s", type(error).__name__)
            except Exception:
                # The caretaker of money outlives every surprise: it says so and tries again.
                log.exception("looking after the spool failed")

    async def _replay(self) -> None:
        """Append what is spooled to the stream."""
        if self._redis_is_down and time.monotonic() < self._redis_down_until:
            return
        await cast("Awaitable[Any]", cast("Redis", self._redis).ping())
        await self._on_disk(self._close_open)
        while self._to_replay:
            segment = self._to_replay[0]
            events = await self._on_disk(segment.read)
            if not events:
                # Torn before its first event was whole: nothing in it was ever promised.
                self._to_replay.pop(0)
                await self._on_disk(segment.delete)
                continue
            for start in range(0, len(events), BATCH):
                appended = await self._append(events[start : start + BATCH])
                if appended is None:
                    return
                last = appended[-1]
            self._to_replay.pop(0)
            self._replayed.append(_Replayed(segment, last))
            log.info("%d spooled usage events were replayed", len(events))

    async def _drop_acknowledged(self) -> None:
        """Let go of what the ledger has acknowledged, and tell again what Redis lost."""
        if not self._told and not self._replayed:
            return
        redis = cast("Redis", self._redis)
        await redis.set(redis_keys.USAGE_MEMORY, uuid4().hex, nx=True)
        memory = _text(await redis.get(redis_keys.USAGE_MEMORY))
        process = _text(_texts(await redis.info("server"))["run_id"])
        # A Redis that was restarted may lack its last second, whatever it remembers else.
        restarted, self._redis_process = self._redis_process not in ("", process), process

        def lost(one: _Told) -> bool:
            return restarted or one.memory != memory

        again = [one.event for one in self._told if lost(one)]
        self._told = [one for one in self._told if not lost(one)]
        if again:
            log.warning("Redis may have lost %d usage events, they are told again", len(again))
            self._waiting += [(event, None) for event in again]
            self._awake.set()
        for segment in [one for one in self._replayed if lost(one.last)]:
            self._replayed.remove(segment)
            self._to_replay.append(segment.segment)
        booked = await self._booked()
        self._told = [one for one in self._told if _order(one.ident) > booked]
        for segment in [one for one in self._replayed if _order(one.last.ident) <= booked]:
            self._replayed.remove(segment)
            await self._on_disk(segment.segment.delete)
        if len(self._told) > KEPT:
            waiting = [one.event for one in self._told]
            await self._on_disk(self._spool, waiting)
            self._told = self._told[len(waiting) :]

    async def _booked(self) -> tuple[int, int]:
        """The id up to which the ledger has acknowledged everything."""
        redis = cast("Redis", self._redis)
        # First how far it came, then what of that is not acknowledged.
        groups = await redis.xinfo_groups(redis_keys.USAGE_STREAM)
        group = next((one for one in map(_texts, groups) if one["name"] == redis_keys.LEDGER_GROUP), None)
        if group is None:
            return 0, 0
        delivered = _order(str(group["last-delivered-id"]))
        pending = await redis.xpending(redis_keys.USAGE_STREAM, redis_keys.LEDGER_GROUP)
        if not pending["pending"]:
            return delivered
        milliseconds, number = _order(_text(pending["min"]))
        return min(delivered, (milliseconds, number - 1))

    def _segments(self) -> list[Segment]:
        """All that is on disk."""
        still_open = [self._open] if self._open is not None else []
        return [*self._to_replay, *(one.segment for one in self._replayed), *still_open]


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _texts(group: Any) -> dict[str, Any]:
    return {_text(name): _text(value) if isinstance(value, bytes) else value for name, value in group.items()}


def _order(ident: str) -> tuple[int, int]:
    milliseconds, _, number = ident.partition("-")
    return int(milliseconds), int(number or 0)
