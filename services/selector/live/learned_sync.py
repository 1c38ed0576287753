"""What outcomes have taught, read from Redis, and leases of the exploration budget, which all replicas share.

While Redis is down a replica goes on with the evidence that it read last, and explores what costs no more until its
lease is spent.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from google.protobuf.message import DecodeError
from lumni.classifier.v1 import classifier_pb2
from lumni.events.v1 import events_pb2

from services.chassis import redis, redis_keys
from services.chassis.enums import word
from services.chassis.learning import Learning, Mode
from services.chassis.outage import Outage
from services.selector.live.exploration_bounds import DAY_S, ExplorationBounds, day_of
from services.selector.live.learned_evidence import LearnedEvidence
from services.selector.models.learned import Evidence, Outcomes

log = logging.getLogger(__name__)

EVERY_S = 2.0
# A lease is this part of the day's budget: small, as what is leased and not spent is lost, and large enough that few
# are needed.
PART = 50
CATEGORIES = {
    number: word(classifier_pb2.Category, number) or "other" for number in classifier_pb2.Category.values()
}


class LearnedSync:
    """Keeps evidence fresh, and the lease filled."""

    def __init__(
        self, evidence: LearnedEvidence, bounds: ExplorationBounds, options: Callable[[], Learning]
    ) -> None:
        """Fill `evidence` and `bounds` as far as the options in force want it."""
        self._evidence = evidence
        self._bounds = bounds
        self._options = options

    async def refresh(self, client: redis.Redis) -> None:
        """Read and lease until cancelled."""
        outage = Outage(
            log, "what outcomes have taught cannot be read", "what outcomes have taught is read again"
        )
        while True:
            try:
                await self.exchange(client, time.time())
            except (*redis.ERRORS, DecodeError) as error:
                outage.begin(error)
            else:
                outage.end()
            await asyncio.sleep(EVERY_S)

    async def exchange(self, client: redis.Redis, now_unix_s: float) -> None:
        """Read and lease once.

        Raises:
            RedisError: Redis is down.
            DecodeError: what it has was written by nobody of Lumni's.
        """
        options = self._options()
        if options.mode is Mode.OFF:
            return
        found = await client.get(redis_keys.LEARNED)
        if isinstance(found, bytes):
            self._evidence.take(unpacked(found))
        # At least a nano-dollar, so that the smallest budget is given out at all.
        part = max(1, options.budget_nano_usd // PART)
        if (
            options.mode is Mode.ON
            and self._bounds.left_nano_usd(now_unix_s) < part <= options.budget_nano_usd
        ):
            await self._lease(client, options.budget_nano_usd, part, day_of(now_unix_s))

    async def _lease(self, client: redis.Redis, budget_nano_usd: int, part: int, day: int) -> None:
        key = redis_keys.exploration(day)
        # It expires a day later than it counts.
        asked, _ = await redis.transaction(client, [("INCRBY", key, part), ("EXPIRE", key, 2 * DAY_S)])
        # Whoever asks after the budget is given out gets nothing, so all leases add up to no more than it.
        granted = min(part, max(0, budget_nano_usd - (asked - part)))
        self._bounds.lease(day, granted)


def unpacked(message: bytes) -> Evidence:
    """Evidence as the ledger published it."""
    parsed = events_pb2.LearnedEvidence.FromString(message)
    cells: dict[tuple[str, int], dict[str, Outcomes]] = {}
    for one in parsed.outcomes:
        cell = cells.setdefault((CATEGORIES.get(one.category, "other"), one.level), {})
        cell[one.model] = Outcomes(one.share, one.weight, one.liked, one.counted, one.last_on)
    return Evidence(
        version=parsed.version,
        cells=cells,
        acting=frozenset(CATEGORIES.get(one, "other") for one in parsed.acting),
    )
