"""What the replicas learn together through Redis: recent usage and the spread of strong win rates.

Each replica adds what it counted to the counts of all, and then reads those, once a second. It adds in one
transaction, so that a connection that breaks halfway has added nothing. While Redis is down each goes on with what it
read last and its own counts, and adds them later.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from heapq import nsmallest

import numpy as np

from services.chassis import redis, redis_keys
from services.chassis.outage import Outage
from services.selector.live.powerful_share import BINS, WINDOW_S, Counts, PowerfulShares, window_of
from services.selector.live.recent_usage import BUCKETS, RecentUsage

log = logging.getLogger(__name__)

EVERY_S = 1.0
# Of the tenants with requests since the last exchange, so many are exchanged at once.
MOST_TENANTS = 500


class ReplicaSync:
    """Keeps recent usage and powerful shares in step with the other replicas."""

    def __init__(self, recent: RecentUsage, powerful_shares: PowerfulShares) -> None:
        self._recent = recent
        self._powerful_shares = powerful_shares

    async def refresh(self, client: redis.Redis) -> None:
        """Exchange until cancelled."""
        outage = Outage(
            log, "Redis does not answer; recent usage is counted by each replica alone", "Redis answers again"
        )
        while True:
            try:
                await self.exchange(client, time.time())
            except redis.ERRORS as error:
                outage.begin(error)
            else:
                outage.end()
            await asyncio.sleep(EVERY_S)

    async def exchange(self, client: redis.Redis, now_unix_s: float) -> None:
        """Add and read once.

        Raises:
            RedisError: Redis is down; nothing that was counted is lost.
        """
        await self._exchange_usage(client, now_unix_s)
        await self._exchange_rates(client, now_unix_s)

    async def _exchange_usage(self, client: redis.Redis, now_unix_s: float) -> None:
        current = self._recent.bucket(now_unix_s)
        pending = [
            (name, tenant)
            for name, tenant in self._recent.tenants.items()
            if tenant.used_unix_s >= tenant.exchanged_unix_s or tenant.unpublished
        ]
        # The longest without an exchange come first, so that none is passed over for ever.
        chosen = nsmallest(MOST_TENANTS, pending, key=lambda one: one[1].exchanged_unix_s)
        added = [
            {bucket: Counter(counts) for bucket, counts in tenant.unpublished.items()} for _, tenant in chosen
        ]
        await _add(
            client,
            {
                redis_keys.recent(name, bucket): counts
                for (name, _), by_bucket in zip(chosen, added, strict=True)
                for bucket, counts in by_bucket.items()
            },
            expire_s=self._recent.window_s + 60,
        )
        for (_, tenant), by_bucket in zip(chosen, added, strict=True):
            for bucket, counts in by_bucket.items():
                # What was counted meanwhile stays.
                tenant.unpublished[bucket] -= counts
                if not tenant.unpublished[bucket]:
                    del tenant.unpublished[bucket]
        buckets = range(current - BUCKETS + 1, current + 1)
        found = await _read(client, [redis_keys.recent(name, one) for name, _ in chosen for one in buckets])
        for place, (_, tenant) in enumerate(chosen):
            tenant.published = Counter()
            for counted in found[place * BUCKETS : (place + 1) * BUCKETS]:
                tenant.published.update(counted)
            tenant.exchanged_unix_s = now_unix_s

    async def _exchange_rates(self, client: redis.Redis, now_unix_s: float) -> None:
        self._powerful_shares.forget(now_unix_s)
        chosen = list(self._powerful_shares.histograms.items())
        added = [
            {window: counts.copy() for window, counts in histogram.unpublished.items()}
            for _, histogram in chosen
        ]
        await _add(
            client,
            {
                redis_keys.split(*key, window): {
                    str(number): int(counts[number]) for number in np.flatnonzero(counts)
                }
                for (key, _), by_window in zip(chosen, added, strict=True)
                for window, counts in by_window.items()
            },
            expire_s=3 * WINDOW_S,
        )
        for (_, histogram), by_window in zip(chosen, added, strict=True):
            for window, counts in by_window.items():
                histogram.unpublished[window] -= counts
                if not histogram.unpublished[window].any():
                    del histogram.unpublished[window]
        current = window_of(now_unix_s)
        windows = (current - 1, current)
        found = await _read(client, [redis_keys.split(*key, one) for key, _ in chosen for one in windows])
        for place, (_, histogram) in enumerate(chosen):
            both = found[2 * place : 2 * place + 2]
            histogram.published = dict(zip(windows, map(_histogram, both), strict=True))


async def _add(client: redis.Redis, counts: Mapping[str, Mapping[str, int]], expire_s: int) -> None:
    """Add to hashes of counts by key and field, all or none; each key lives on for `expire_s` seconds."""
    if not counts:
        return
    commands: list[redis.Command] = []
    for key, fields in counts.items():
        commands += [("HINCRBY", key, field, count) for field, count in fields.items()]
        commands.append(("EXPIRE", key, expire_s))
    await redis.transaction(client, commands)


async def _read(client: redis.Redis, keys: Iterable[str]) -> list[dict[str, int]]:
    """Hashes of counts, in the order of the keys."""
    commands: list[redis.Command] = [("HGETALL", key) for key in keys]
    found = redis.checked(await redis.exchange(client, commands)) if commands else []
    return [{redis.text(field): int(count) for field, count in fields.items()} for fields in found]


def _histogram(counted: Mapping[str, int]) -> Counts:
    bins = np.zeros(BINS)
    for number, count in counted.items():
        bins[int(number)] = count
    return bins
