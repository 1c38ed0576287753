"""What the replicas learn together through Redis: recent usage and the spread of strong win rates.

Each replica tells what it counted and then reads what all counted, once a second. What is told is told in one
transaction, so that a connection that breaks halfway has told nothing. While Redis is gone each goes on with what it
knows and its own counts, and tells them later.
"""

import asyncio
import logging
import time
from collections import Counter
from heapq import nsmallest
from typing import Any

import numpy as np

from services.chassis import redis, redis_keys
from services.selector.live.powerful_share import BINS, WINDOW_S, PowerfulShares, window_of
from services.selector.live.recent_usage import BUCKETS, RecentUsage

log = logging.getLogger(__name__)

EVERY_S = 1.0
# Of tenants that asked since the last time, so many are brought up to date at once.
MOST_TENANTS = 500


class ReplicaSync:
    """Keeps `recent` and `powerful_shares` in step with the other replicas."""

    def __init__(self, recent: RecentUsage, powerful_shares: PowerfulShares) -> None:
        self._recent = recent
        self._powerful_shares = powerful_shares

    async def refresh(self, client: redis.Redis) -> None:
        """Tell and read until cancelled."""
        while True:
            try:
                await self.exchange(client, time.time())
            except redis.ERRORS as error:
                log.debug("recent usage is not shared: %s", error)
            await asyncio.sleep(EVERY_S)

    async def exchange(self, client: redis.Redis, now_unix_s: float) -> None:
        """Tell and read once.

        Raises:
            RedisError: Redis is gone; nothing told is lost.
        """
        await self._exchange_recent(client, now_unix_s)
        await self._exchange_splits(client, now_unix_s)

    async def _exchange_recent(self, client: redis.Redis, now_unix_s: float) -> None:
        current = self._recent.bucket(now_unix_s)
        waiting = [
            (name, tenant)
            for name, tenant in self._recent.tenants.items()
            if tenant.asked_unix_s >= tenant.told_unix_s or tenant.own
        ]
        # Who was told longest ago comes first, so that nobody is passed over for ever.
        asked = nsmallest(MOST_TENANTS, waiting, key=lambda one: one[1].told_unix_s)
        if not asked:
            return
        told = [{bucket: Counter(counts) for bucket, counts in tenant.own.items()} for _, tenant in asked]
        async with client.pipeline(transaction=True) as pipe:
            for (name, _), own in zip(asked, told, strict=True):
                for bucket, counts in own.items():
                    for model, count in counts.items():
                        pipe.hincrby(redis_keys.recent(name, bucket), model, count)
                    pipe.expire(redis_keys.recent(name, bucket), self._recent.window_s + 60)
            await pipe.execute()
        for (_, tenant), own in zip(asked, told, strict=True):
            for bucket, counts in own.items():
                # What was counted while Redis was being told stays.
                tenant.own[bucket] -= counts
                if not tenant.own[bucket]:
                    del tenant.own[bucket]
        async with client.pipeline(transaction=False) as pipe:
            for name, _ in asked:
                for bucket in range(current - BUCKETS + 1, current + 1):
                    pipe.hgetall(redis_keys.recent(name, bucket))
            answers: list[Any] = await pipe.execute()
        for place, (_, tenant) in enumerate(asked):
            tenant.shared = Counter()
            for counted in answers[place * BUCKETS : (place + 1) * BUCKETS]:
                tenant.shared.update({_text(model): int(count) for model, count in counted.items()})
            tenant.told_unix_s = now_unix_s

    async def _exchange_splits(self, client: redis.Redis, now_unix_s: float) -> None:
        current = window_of(now_unix_s)
        self._powerful_shares.forget(now_unix_s)
        asked = list(self._powerful_shares.histograms.items())
        if not asked:
            return
        told = [{window: counts.copy() for window, counts in histogram.own.items()} for _, histogram in asked]
        async with client.pipeline(transaction=True) as pipe:
            for (whose, _), own in zip(asked, told, strict=True):
                for window, counts in own.items():
                    for number in np.flatnonzero(counts):
                        pipe.hincrby(redis_keys.split(*whose, window), str(number), int(counts[number]))
                    pipe.expire(redis_keys.split(*whose, window), 3 * WINDOW_S)
            await pipe.execute()
        for (_, histogram), own in zip(asked, told, strict=True):
            for window, counts in own.items():
                histogram.own[window] -= counts
                if not histogram.own[window].any():
                    del histogram.own[window]
        async with client.pipeline(transaction=False) as pipe:
            for whose, _ in asked:
                for window in (current - 1, current):
                    pipe.hgetall(redis_keys.split(*whose, window))
            answers: list[Any] = await pipe.execute()
        for place, (_, histogram) in enumerate(asked):
            histogram.shared = {}
            for window, counted in zip(
                (current - 1, current), answers[2 * place : 2 * place + 2], strict=True
            ):
                bins = np.zeros(BINS)
                for told_bin, count in counted.items():
                    bins[int(_text(told_bin))] = int(count)
                histogram.shared[window] = bins


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode()
