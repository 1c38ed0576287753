"""What a ledger process does now and then: months of tables, old rows, attempts and reservations that nothing ends."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta

from services.chassis import redis
from services.chassis.outage import Outage
from services.gateway import postgres
from services.gateway.ledger.consumer import Consumer
from services.gateway.ledger.recovery import BEHIND_MS, Recovery
from services.gateway.ledger.retention import Retention

log = logging.getLogger(__name__)

# How often tables are made for coming months, and old rows looked for, in seconds.
HOURLY_S = 3600.0
# How long each kind of old rows may be deleted in one round, in seconds: less than the pause after it, so that what a
# round does beside stays on time, and thousands of rows a second go.
PRUNE_S = 2.0


class Housekeeping:
    """Does one round of everything after the other."""

    def __init__(
        self,
        retention: Retention,
        recovery: Recovery,
        usage: Sequence[Consumer],
        decisions: Sequence[Consumer],
        *,
        pause_s: float = 5.0,
        retention_days: int = 0,
        learnt_days: int = 0,
        hourly: Sequence[Callable[[], Awaitable[None]]] = (),
    ) -> None:
        """Put the rounds together.

        Args:
            retention: Makes, drops and prunes tables.
            recovery: Ends what nothing else ends.
            usage: Say how far the ledger is behind on usage events, one for each partition.
            decisions: The same of decision events.
            pause_s: Between two rounds.
            retention_days: For how long usage is kept; 0 is for good.
            learnt_days: For how long feedback and features are kept, no longer than usage; 0 is for good.
            hourly: What else is done once an hour.
        """
        self._retention = retention
        self._recovery = recovery
        self._usage = usage
        self._decisions = decisions
        # What deletes a batch of rows that are older than so many days; responses and texts have ends of their own.
        self._prunes: list[tuple[int, Callable[[datetime], Awaitable[int]]]] = [(0, retention.prune_expired)]
        if retention_days:
            self._prunes.append((retention_days, retention.prune))
        if learnt_days:
            self._prunes.append((learnt_days, retention.prune_learning))
        self._hourly = hourly
        self._pause_s = pause_s
        self._partitions_at = 0.0
        self._prune_at = [0.0] * len(self._prunes)

    async def run(self) -> None:
        """Go on until cancelled; what fails is tried again in the next round."""
        outage = Outage(log, "housekeeping fails", "housekeeping goes on")
        while True:
            try:
                await self._tables()
                await _behind_ms(self._decisions)
                # Only a ledger that has written every event may say that an attempt has no end.
                if await _behind_ms(self._usage) < BEHIND_MS:
                    await self._recovery.close_overdue()
                    await self._recovery.release_abandoned()
                await self._recovery.publish_again()
                outage.end()
            except (*redis.ERRORS, *postgres.FAILURES) as error:
                outage.begin(error)
            await asyncio.sleep(self._pause_s)

    async def _tables(self) -> None:
        now = time.monotonic()
        if now >= self._partitions_at:
            await self._retention.make_partitions(datetime.now(UTC))
            await self._retention.forget_erased()
            for work in self._hourly:
                await work()
            self._partitions_at = now + HOURLY_S
        for place, (days, prune) in enumerate(self._prunes):
            if now >= self._prune_at[place]:
                more = await _prune_for_a_while(prune, datetime.now(UTC) - timedelta(days=days))
                self._prune_at[place] = now + (0 if more else HOURLY_S)


async def _behind_ms(consumers: Sequence[Consumer]) -> int:
    """By how much the ledger is behind on any of the partitions."""
    return max([await one.behind_ms() for one in consumers])


async def _prune_for_a_while(prune: Callable[[datetime], Awaitable[int]], before: datetime) -> bool:
    """Delete in bounded batches, so that they are in nothing's way; whether there may be more."""
    end = time.monotonic() + PRUNE_S
    while await prune(before):
        if time.monotonic() >= end:
            return True
    return False
