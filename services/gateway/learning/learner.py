"""Learns from outcomes in the ledger process: sums days anew, and publishes the evidence for the selectors.

The sums are a function of the ledger's rows alone. So whichever ledger sums them, or sums them again from the first day
on, finds the same, and Redis has nothing that could be lost.
"""

import asyncio
import logging
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta

import asyncpg
from lumni.classifier.v1 import classifier_pb2
from lumni.events.v1 import events_pb2

from services.chassis import redis, redis_keys
from services.chassis.outage import Outage
from services.gateway import postgres
from services.gateway.learning import comparison, evidence, outcomes

log = logging.getLogger(__name__)

# Between two rounds, in seconds: a model does not become another one within minutes.
PAUSE_S = 300.0
# Feedback of the last round may have been committed after it was read.
OVERLAP = timedelta(minutes=5)
CATEGORIES = {
    name.removeprefix("CATEGORY_").lower(): number for name, number in classifier_pb2.Category.items()
}


class Learner:
    """Sums and publishes.

    Args:
        pool: Where the ledger is.
        client: Where selectors read.
        pause_s: Between two rounds, in seconds.

    """

    def __init__(
        self, pool: postgres.Pool, client: redis.Redis, *, kept_days: int = 0, pause_s: float = PAUSE_S
    ) -> None:
        """Learn from `pool`, and publish through `client`.

        Args:
            pool: The ledger.
            client: Where selectors read what was learnt.
            kept_days: For how many days retention keeps what outcomes are made of; 0 is for good.
            pause_s: Between two rounds.
        """
        self._pool = pool
        self._redis = client
        self._kept_days = kept_days
        self._pause_s = pause_s
        # When the last round began; after a start all days are summed.
        self._since: datetime | None = None

    async def run(self) -> None:
        """Learn until cancelled; what fails is tried again in the next round."""
        outage = Outage(log, "nothing is learnt from outcomes", "outcomes are learnt from again")
        while True:
            try:
                if await self.round(datetime.now(UTC)):
                    outage.end()
            except (*redis.ERRORS, *postgres.ERRORS, asyncpg.PostgresError) as error:
                outage.begin(error)
            await asyncio.sleep(self._pause_s)

    async def round(self, now: datetime) -> bool:
        """Sum what has changed, and publish; False where another ledger does so at the moment.

        Raises:
            postgres.ERRORS, PostgresError: PostgreSQL does not answer; the next round sums the same days.
            redis.ERRORS: the evidence is not published.
        """
        today = now.date()
        async with postgres.connection(self._pool, timeout_s=outcomes.SLOW_S) as connection:
            # The lock ends with its connection at the latest. It is held until all is published, so that no ledger
            # publishes older sums after newer ones.
            if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", outcomes.LOCK):
                return False
            try:
                for day in await outcomes.changed_days(connection, self._since, today):
                    if not self._is_pruned(day, now) or not evidence.faded(day, today):
                        await outcomes.sum_day(connection, day, today)
                self._since = now - OVERLAP
                days, compared = await outcomes.sums(connection, today)
                await self._redis.set(redis_keys.LEARNED, published(days, compared, now).SerializeToString())
            finally:
                # A connection that broke has no lock, and why it broke is told already.
                with suppress(*postgres.ERRORS, asyncpg.PostgresError):
                    await connection.execute("SELECT pg_advisory_unlock($1)", outcomes.LOCK)
        return True

    def _is_pruned(self, day: date, now: datetime) -> bool:
        """Whether retention may have deleted rows of a day: its sums would lack them, and stay as they are."""
        begin = datetime.combine(day, time(), UTC)
        return bool(self._kept_days) and begin < now - timedelta(days=self._kept_days)


def published(
    days: list[evidence.Day], compared: list[comparison.Day], now: datetime
) -> events_pb2.LearnedEvidence:
    """The evidence as selectors read it."""
    today: date = now.date()
    message = events_pb2.LearnedEvidence(version=int(now.timestamp() * 1000))
    for one in evidence.outcomes(days, today):
        message.outcomes.add(
            category=CATEGORIES.get(one.category, classifier_pb2.CATEGORY_OTHER),
            level=one.level,
            model=one.model,
            share=one.share,
            weight=one.weight,
            liked=one.liked,
            counted=one.counted,
            last_on=one.last_on.isoformat(),
        )
    message.acting.extend(
        CATEGORIES.get(one.category, classifier_pb2.CATEGORY_OTHER)
        for one in comparison.estimates(compared, today)
        if one.acts
    )
    return message
