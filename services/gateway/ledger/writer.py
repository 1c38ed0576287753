"""Events into rows: what the streams hold is written to the store, and the new sums are published in Redis."""

import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeAlias

import prometheus_client

from services.chassis import redis, redis_keys
from services.gateway.ledger import event_rows
from services.gateway.ledger.republication import Publications
from services.gateway.ledger.rows import USAGE_COLUMNS, Ended, Poison, Started, Sum
from services.gateway.ledger.store import DATA_ERRORS, LedgerStore
from services.gateway.limits.partitions import Partitions

log = logging.getLogger(__name__)

WRITTEN = prometheus_client.Counter("lumni_ledger_events", "Events written.", ["stream"])
POISON = prometheus_client.Counter("lumni_ledger_poison_events", "Events set aside.", ["stream"])

for _stream in (redis_keys.USAGE_STREAM, redis_keys.DECISION_STREAM):
    # Shown from the start: an alert on an increase does not see a counter that begins with its first event.
    POISON.labels(_stream)

# Whom an attempt counts for.
SCOPES = ("key", "user", "organization")
OWNER = tuple(USAGE_COLUMNS.index(f"{scope}_id") for scope in SCOPES)
# The id of a stream's entry, and the event in it.
Entry: TypeAlias = tuple[str, bytes]
Read: TypeAlias = Callable[[bytes], Any]
Write: TypeAlias = Callable[[Sequence[Any]], Awaitable[None]]


class Seen(Protocol):
    """Who is told what the ledger has done."""

    def ended(self, batch: Sequence[Ended]) -> None:
        """Attempts were written."""

    def set_aside(self, count: int) -> None:
        """Events could not be written."""


class LedgerWriter:
    """Writes events, whatever is among them: one that cannot be written keeps no other from being written."""

    def __init__(self, client: redis.Redis, store: LedgerStore, seen: Seen | None = None) -> None:
        """Write through `store` and `client`; `seen` is told what was written and set aside."""
        self._publications = Publications(client)
        self._partitions = Partitions(client)
        self._store = store
        self._seen = seen

    async def usage(self, stream: str, entries: Sequence[Entry]) -> None:
        """Write usage events of a stream, and set aside those that cannot be written.

        Raises:
            postgres.ERRORS, postgres.CONFLICTS, redis.ERRORS: try all of them again; what is written counts once.
        """
        await self._write_all(stream, entries, event_rows.usage, self.write)

    async def decisions(self, stream: str, entries: Sequence[Entry]) -> None:
        """Write decision events of a stream, and set aside those that cannot be written.

        Raises:
            postgres.ERRORS, postgres.CONFLICTS: as `usage`.
        """
        await self._write_all(stream, entries, event_rows.decision, self._store.write_decisions)

    async def write(self, batch: Sequence[Started | Ended]) -> None:
        """Write events in one transaction, and publish the sums.

        Raises:
            DATA_ERRORS, postgres.ERRORS, postgres.CONFLICTS: as `LedgerStore.write`.
            redis.ERRORS: they are written, but the sums are not published; the same again publishes them.
        """
        sums = await self._store.write(batch)
        ended = [event for event in batch if isinstance(event, Ended)]
        if ended:
            await self.publish(sums, ended)
        if self._seen is not None:
            self._seen.ended(ended)

    async def publish_again(self) -> None:
        """Publish again what Redis may have lost.

        Raises:
            redis.ERRORS: Redis does not answer.
        """
        await self._publications.repeat()

    async def _write_all(self, stream: str, entries: Sequence[Entry], read: Read, write: Write) -> None:
        poisoned = await isolating(entries, read, write)
        if poisoned:
            await self.set_aside(stream, poisoned)
        WRITTEN.labels(stream).inc(len(entries) - len(poisoned))

    async def publish(self, sums: Sequence[Sum], ended: Sequence[Ended]) -> None:
        """Tell the gateways what was spent, and which attempts are over.

        Sums without attempts, of usage that was imported, go to every partition: which one they belong to is the
        business of keys' owners, and where nobody needs them they are forgotten within a minute.

        Raises:
            redis.ERRORS: they do not know it yet; the same again tells them.
        """
        if not ended:
            every = [[f"{one.subject}:{one.period}", one.nano_usd, one.version] for one in sums]
            await self._publications.publish(
                [(part, {"sums": every, "attempts": []}) for part in self._partitions.names]
            )
            return
        attempts: dict[str, list[Ended]] = defaultdict(list)
        for one in ended:
            attempts[self._partitions.of(*(one.row[at] for at in OWNER))].append(one)
        calls = []
        for part, its in attempts.items():
            subjects = {
                f"{scope}:{one.row[at]}" for one in its for scope, at in zip(SCOPES, OWNER, strict=True)
            }
            written = {
                # Where there is one partition it has all, also the sums of a user whom an erasure has renamed.
                "sums": [
                    [f"{one.subject}:{one.period}", one.nano_usd, one.version]
                    for one in sums
                    if len(self._partitions.names) == 1 or one.subject in subjects
                ],
                "attempts": [[one.request_id, one.number, one.last] for one in its],
            }
            calls.append((part, written))
        await self._publications.publish(calls)

    async def set_aside(self, stream: str, poisoned: Sequence[Poison]) -> None:
        """Keep what cannot be written, with the reasons.

        Raises:
            postgres.ERRORS: it is not kept yet.
        """
        await self._store.set_aside(stream, poisoned)
        POISON.labels(stream).inc(len(poisoned))
        if self._seen is not None:
            self._seen.set_aside(len(poisoned))
        log.error("%d events were set aside: %s", len(poisoned), poisoned[0].reason)


async def isolating(entries: Sequence[Entry], read: Read, write: Write) -> list[Poison]:
    """Write events together, or by halves until those that cannot be written stand alone; these, with the reasons."""
    poisoned: list[Poison] = []
    good: list[tuple[Entry, Any]] = []
    for entry_id, event in entries:
        try:
            good.append(((entry_id, event), read(event)))
        except ValueError as error:
            poisoned.append(Poison(entry_id, str(error), event))
    portions = [good] if good else []
    while portions:
        portion = portions.pop()
        try:
            await write([event for _, event in portion])
        except DATA_ERRORS as error:
            if len(portion) == 1:
                entry_id, event = portion[0][0]
                poisoned.append(Poison(entry_id, f"{type(error).__name__}: {error}", event))
            else:
                half = len(portion) // 2
                portions += [portion[half:], portion[:half]]
    return poisoned
