"""Changes of keys, users and organizations: recorded in PostgreSQL, published in Redis, and read from both.

A change is a row of `key_changes` in the transaction that makes it, and an entry in a Redis stream after that. Every
gateway process reads the stream at once and the table every half second, so that either store alone is enough: a
revoked key is refused within a second. A process that reaches neither store refuses it after `LUMNI_KEY_STALE_S`.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import asyncpg
import prometheus_client

from services.chassis import redis, redis_keys
from services.chassis.outage import Outage
from services.gateway import postgres

log = logging.getLogger(__name__)

POLL_S = 0.5
# Changes are read again for so long, in seconds, as a transaction may commit after a younger one.
OVERLAP_S = 10.0
# How long the table keeps changes, in seconds.
KEPT_S = 86400

CUT_OFF = prometheus_client.Gauge(
    "lumni_gateway_key_changes_unheard_seconds",
    "Since when changed keys were read from neither store.",
    multiprocess_mode="livemax",
)

RECORD = "INSERT INTO key_changes (subject) VALUES ($1)"
# What a longer transaction, such as that of an import, already deletes is left to it: nobody waits for it.
PRUNE = """
DELETE FROM key_changes WHERE change_id IN (
    SELECT change_id FROM key_changes WHERE changed_at < now() - make_interval(secs => $1) FOR UPDATE SKIP LOCKED
)
"""
# A user is revoked when each of his keys is.
READ = """
SELECT change_id, subject, coalesce(
    CASE split_part(subject, ':', 1)
        WHEN 'key' THEN (SELECT revoked_at IS NOT NULL FROM virtual_keys WHERE key_id = substr(subject, 5))
        WHEN 'user' THEN (SELECT bool_and(revoked_at IS NOT NULL) FROM virtual_keys WHERE user_id = substr(subject, 6))
    END, false) AS revoked
FROM key_changes WHERE changed_at > now() - make_interval(secs => $1) ORDER BY change_id
"""


async def record(connection: postgres.Connection, subject: str) -> None:
    """Record in the current transaction that a subject such as `key:ID` changes."""
    await connection.execute(RECORD, subject)
    await connection.execute(PRUNE, KEPT_S)


async def publish(client: redis.Redis, subject: str, *, revoked: bool) -> None:
    """Publish a committed change; when Redis is away, the others read the table half a second later."""
    try:
        await client.xadd(
            redis_keys.KEY_CHANGES,
            {"subject": subject, "action": "revoked" if revoked else "changed"},
            maxlen=redis_keys.KEY_CHANGES_LENGTH,
            approximate=True,
        )
    except redis.ERRORS as error:
        log.warning("a change of keys was not published: %s", type(error).__name__)


class ChangeFeed:
    """Reads the changes that any process makes, from whichever of the two stores answers."""

    def __init__(self, pool: postgres.Pool, client: redis.Redis, *, overlap_s: float = OVERLAP_S) -> None:
        """Read from both stores.

        Args:
            pool: Has the table of changes.
            client: Has the stream of changes; its commands may block for a second.
            overlap_s: How long changes are read again.
        """
        self._pool = pool
        self._redis = client
        self._overlap_s = overlap_s
        self._answered = time.monotonic()
        self._on_change: list[Callable[[str, bool], None]] = []
        self._on_gap: list[Callable[[], None]] = []

    @property
    def silent_s(self) -> float:
        """For how long neither store has answered, in seconds."""
        return time.monotonic() - self._answered

    def on_change(self, listener: Callable[[str, bool], None]) -> None:
        """Call `listener(subject, revoked)` for each subject that changed, such as `key:ID`."""
        self._on_change.append(listener)

    def on_gap(self, listener: Callable[[], None]) -> None:
        """Call `listener()` when changes may have been missed, as the table does not reach back far enough."""
        self._on_gap.append(listener)

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Read changes until the block ends."""
        tasks = [asyncio.create_task(self._read_stream()), asyncio.create_task(self._read_table())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _read_stream(self) -> None:
        """Read the stream; nothing is missed while reconnecting, unlike with pub/sub."""
        outage = _outage("Redis")
        last = ""
        while True:
            try:
                if not last:
                    newest = await self._redis.xrevrange(redis_keys.KEY_CHANGES, count=1)
                    last = redis.text(newest[0][0]) if newest else "0-0"
                found = await self._redis.xread({redis_keys.KEY_CHANGES: last}, block=500, count=1000)
                self._note_answer(outage)
                for entry_id, fields in redis.entries(found):
                    last = entry_id
                    self._publish(fields[b"subject"].decode(), revoked=fields[b"action"] == b"revoked")
            except Exception as error:  # noqa: BLE001  (whatever it is: a feed that ends lets revoked keys in)
                await self._note_failure(outage, error, redis.ERRORS)

    async def _read_table(self) -> None:
        """Read the table; what was read before is known by its number."""
        outage = _outage("PostgreSQL")
        seen: set[int] = set()
        since = time.monotonic()
        while True:
            now = time.monotonic()
            try:
                async with postgres.connection(self._pool) as connection:
                    rows = await connection.fetch(READ, self._overlap_s + now - since)
                if now - since > KEPT_S - self._overlap_s:
                    for listener in self._on_gap:
                        listener()
                since = now
                self._note_answer(outage)
                for row in rows:
                    if row["change_id"] not in seen:
                        self._publish(row["subject"], revoked=row["revoked"])
                seen = {row["change_id"] for row in rows}
                await asyncio.sleep(POLL_S)
            except Exception as error:  # noqa: BLE001  (as above)
                await self._note_failure(outage, error, (*postgres.ERRORS, asyncpg.UndefinedTableError))

    def _publish(self, subject: str, *, revoked: bool) -> None:
        for listener in self._on_change:
            listener(subject, revoked)

    def _note_answer(self, outage: Outage) -> None:
        self._answered = time.monotonic()
        CUT_OFF.set(0)
        outage.end()

    async def _note_failure(
        self, outage: Outage, error: Exception, expected: tuple[type[Exception], ...]
    ) -> None:
        if isinstance(error, expected):
            outage.begin(error)
        else:
            log.error("changed keys could not be read", exc_info=error)
        CUT_OFF.set(self.silent_s)
        await outage.pause()


def _outage(store: str) -> Outage:
    return Outage(
        log,
        f"changed keys cannot be read from {store}",
        f"changed keys are read from {store} again",
        pause_s=POLL_S,
    )
