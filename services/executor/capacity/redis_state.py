"""What executor replicas share in Redis: breakers, and counts of the deployments' quotas.

Redis is called only when something happens that other replicas must know, and for no longer than the client's short
timeout. During an outage it is not called at all, and each replica uses what it knows itself.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from services.chassis import redis_keys
from services.chassis.lua import Script
from services.chassis.outage import Outage
from services.chassis.redis import ERRORS, Command, Redis, checked, exchange
from services.executor.capacity.breaker import BUCKETS
from services.executor.capacity.quotas import LocalQuotaCounter, Quota, Take, corrected

log = logging.getLogger(__name__)

# How long Redis is not called after it failed, in seconds.
PAUSE_S = 1.0


class RedisGuard:
    """Calls Redis, but not for a while after each failure; an outage is logged once when it begins and ends."""

    def __init__(self, redis: Redis | None) -> None:
        self._redis = redis
        self._outage = Outage(
            log,
            "Redis cannot be reached, quotas and breakers are local",
            "Redis answers again, quotas and breakers are shared",
            pause_s=PAUSE_S,
        )

    async def call(self, command: Any) -> Any | None:
        """The result of `command(redis)`, or None when Redis cannot be reached."""
        if self._redis is None or self._outage.resting:
            return None
        try:
            result = await command(self._redis)
        except ERRORS as error:
            self._outage.begin(error)
            return None
        self._outage.end()
        return result if result is not None else True


# KEYS[1] the failures' counter; ARGV: bucket, buckets, seconds to live. Returns the failures in the window.
_ADD_FAILURE = Script("""
redis.call('HINCRBY', KEYS[1], ARGV[1], 1)
redis.call('EXPIRE', KEYS[1], ARGV[3])
local total, oldest = 0, tonumber(ARGV[1]) - tonumber(ARGV[2])
local counts = redis.call('HGETALL', KEYS[1])
for i = 1, #counts, 2 do
  if tonumber(counts[i]) > oldest then total = total + tonumber(counts[i + 1])
  else redis.call('HDEL', KEYS[1], counts[i]) end
end
return total
""")


class RedisBreakerStore:
    """A hash from each breaker that is not closed to when it may be probed, in milliseconds since 1970."""

    def __init__(self, guard: RedisGuard, replica: str) -> None:
        self._guard = guard
        self._replica = replica

    async def add_failure(self, ident: str, window_s: float) -> int | None:
        """Count a failure over all replicas."""
        bucket = int(time.time() // (window_s / BUCKETS))
        key = redis_keys.breaker_failures(ident)
        total = await self._guard.call(
            lambda redis: _ADD_FAILURE.run(redis, [key], [bucket, BUCKETS, int(window_s) + 1])
        )
        return None if total is None else int(total)

    async def open(self, ident: str, cooldown_s: float) -> None:
        """Publish that a breaker is open; no replica probes before the time is up."""
        until = int((time.time() + cooldown_s) * 1000)

        async def publish(redis: Redis) -> None:
            # In this order: while the time is not up, nobody claims the probe.
            commands = (
                ("HSET", redis_keys.BREAKERS, ident, until),
                ("DEL", redis_keys.breaker_probe(ident)),
            )
            checked(await exchange(redis, commands))

        await self._guard.call(publish)

    async def close(self, ident: str) -> None:
        """Publish that a breaker is closed."""

        async def forget(redis: Redis) -> None:
            commands = (
                ("HDEL", redis_keys.BREAKERS, ident),
                ("DEL", redis_keys.breaker_failures(ident)),
                ("DEL", redis_keys.breaker_probe(ident)),
            )
            checked(await exchange(redis, commands))

        await self._guard.call(forget)

    async def claim_probe(self, ident: str, probe_s: float) -> bool | None:
        """Claim the probe."""

        async def claim(redis: Redis) -> bool:
            # Two commands, because all breakers and one deployment's probe are in two slots of a cluster. Who opens the
            # breaker in between is probed once too early.
            (probe_from,) = checked(await exchange(redis, [("HGET", redis_keys.BREAKERS, ident)]))
            if probe_from and int(probe_from) > time.time() * 1000:
                return False
            key, holds_ms = redis_keys.breaker_probe(ident), int(probe_s * 1000)
            return bool(await redis.set(key, self._replica, nx=True, px=holds_ms))

        claimed = await self._guard.call(claim)
        return None if claimed is None else bool(claimed)

    async def release_probe(self, ident: str) -> None:
        """Let another replica probe."""
        key = redis_keys.breaker_probe(ident)
        await self._guard.call(lambda redis: _RELEASE_PROBE.run(redis, [key], [self._replica]))

    async def read(self) -> Mapping[str, float] | None:
        """The breakers that are not closed."""
        found = await self._guard.call(lambda redis: redis.hgetall(redis_keys.BREAKERS))
        if not isinstance(found, dict):
            return None
        now = time.time()
        return {ident.decode(): int(until) / 1000 - now for ident, until in found.items()}


# KEYS[1] the probe's claim; ARGV[1] the replica. A claim that another replica has taken over since is kept.
_RELEASE_PROBE = Script("return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('DEL', KEYS[1]) or 0")

# KEYS the quotas' counters. ARGV: for each its total, what is wanted of it, its seconds to live.
# Returns the number of the quota that would be exceeded (0: none) and what is used of each.
_TAKE = Script("""
local used, exceeded = {}, 0
for i = 1, #KEYS do
  local total, want = tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1])
  used[i] = tonumber(redis.call('GET', KEYS[i]) or '0')
  if exceeded == 0 and used[i] + want > total and used[i] > 0 then exceeded = i end
end
if exceeded == 0 then
  for i = 1, #KEYS do
    used[i] = redis.call('INCRBY', KEYS[i], ARGV[3 * i - 1])
    redis.call('EXPIRE', KEYS[i], ARGV[3 * i])
  end
end
table.insert(used, 1, exceeded)
return used
""")


class RedisQuotaCounter:
    """Counts shared by all replicas, in windows of Redis' keys; local ones during an outage."""

    def __init__(self, guard: RedisGuard) -> None:
        self._guard = guard
        self._local = LocalQuotaCounter()

    async def take(self, ident: str, quotas: Sequence[Quota], tokens: int) -> Take:
        """Count one request of so many tokens, unless that would exceed a quota."""
        now = time.time()
        keys, arguments, ends = [], [], []
        for quota in quotas:
            number, end = quota.window(now)
            keys.append(redis_keys.deployment_limit(ident, quota.name, number))
            arguments += [quota.total, tokens if quota.counts_tokens else 1, int(end - now) + 60]
            ends.append(end)
        answer = await self._guard.call(lambda redis: _TAKE.run(redis, keys, arguments))
        if not isinstance(answer, list):
            return await self._local.take(ident, quotas, tokens)
        exceeded, *used = answer
        if exceeded:
            return Take(used, quotas[exceeded - 1], ends[exceeded - 1] - now)
        return Take(used)

    async def add_tokens(self, ident: str, quotas: Sequence[Quota], tokens: int, taken_unix_s: float) -> None:
        """Correct the tokens of the current windows."""

        async def correct(redis: Redis) -> bool:
            commands: list[Command] = []
            for quota, number, left_s in corrected(quotas, tokens, taken_unix_s):
                key = redis_keys.deployment_limit(ident, quota.name, number)
                commands += [("INCRBY", key, tokens), ("EXPIRE", key, int(left_s) + 60)]
            if commands:
                checked(await exchange(redis, commands))
            return True

        if await self._guard.call(correct) is None:
            await self._local.add_tokens(ident, quotas, tokens, taken_unix_s)
