"""What no event ends: attempts whose end never came, and reservations that no gateway settled."""

import asyncio
import logging
import random
from collections.abc import Sequence

import prometheus_client

from services.chassis import redis, redis_keys
from services.gateway.ledger import event_rows
from services.gateway.ledger.rows import Ended
from services.gateway.ledger.store import LedgerStore
from services.gateway.ledger.writer import LedgerWriter, isolating
from services.gateway.limits import scripts
from services.gateway.limits.partitions import Partitions

log = logging.getLogger(__name__)

# A ledger that is behind by less counts as up to date, in milliseconds.
BEHIND_MS = 5000
# Reservations that are looked at together.
BATCH = 1000

UNKNOWN = prometheus_client.Counter("lumni_ledger_unknown_attempts", "Attempts closed at their upper bound.")
ABANDONED = prometheus_client.Counter("lumni_ledger_abandoned_reservations", "Reservations given back.")


class Recovery:
    """Ends what would stay open for ever. Right only for a ledger that has written every event up to now."""

    def __init__(self, client: redis.Redis, store: LedgerStore, writer: LedgerWriter) -> None:
        self._redis = client
        self._partitions = Partitions(client)
        self._store = store
        self._writer = writer

    async def close_overdue(self) -> None:
        """Write attempts whose end never came as unknown, at their upper bound; set aside what cannot be written.

        Raises:
            postgres.ERRORS: PostgreSQL does not answer; what is left comes next time.
        """
        while overdue := await self._store.overdue():
            poisoned = await isolating(overdue, event_rows.unknown, self._close)
            UNKNOWN.inc(len(overdue) - len(poisoned))
            log.warning("%d attempts have no end and are written at their bounds", len(overdue))
            if poisoned:
                await self._writer.set_aside(redis_keys.USAGE_STREAM, poisoned)
                await self._store.forget([one.entry_id for one in poisoned])

    async def _close(self, ended: Sequence[Ended]) -> None:
        while True:
            try:
                return await self._writer.write(ended)
            except redis.ERRORS:
                # They are not overdue any more, so nothing else would publish the sums.
                await asyncio.sleep(random.uniform(0.2, 0.6))

    async def publish_again(self) -> None:
        """Publish again what a Redis that was restarted or replaced may have lost.

        Raises:
            redis.ERRORS: Redis does not answer.
        """
        await self._writer.publish_again()

    async def release_abandoned(self) -> None:
        """Give back what requests hold that are over, while nothing of theirs is under way or on its way here.

        Raises:
            postgres.ERRORS, redis.ERRORS: a store does not answer; what is left comes next time.
        """
        seconds, _ = await self._redis.time()
        until = int(seconds) * 1000 - BEHIND_MS
        asked = [
            ("ZRANGE", redis_keys.reservations(part), "-inf", until, "BYSCORE", "LIMIT", 0, BATCH)
            for part in self._partitions.names
        ]
        found = redis.checked(await redis.exchange(self._redis, asked))
        overdue = [
            (part, redis.text(request_id))
            for part, its in zip(self._partitions.names, found, strict=True)
            for request_id in its
        ]
        if not overdue:
            return
        under_way = await self._store.under_way([request_id for _, request_id in overdue])
        over = [(part, request_id) for part, request_id in overdue if request_id not in under_way]
        if not over:
            return
        calls = [(part, {"request": request_id, "attempts": []}) for part, request_id in over]
        answers = redis.checked(await scripts.run_all(scripts.SETTLE, self._redis, calls))
        for (part, request_id), answer in zip(over, answers, strict=True):
            if answer == 0:
                # The reservation itself is gone, with what it held.
                await self._redis.zrem(redis_keys.reservations(part), request_id)
            ABANDONED.inc()
