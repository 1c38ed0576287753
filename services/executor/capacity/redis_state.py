"""What executor replicas share in Redis: breakers, and counts of the deployments' limits.

Redis is asked only when something happens that others must know, and never waited for longer than the client's
short deadline. While it is gone nothing is asked at all, and each replica goes by what it knows.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from services.chassis import redis_keys
from services.chassis.lua import Script
from services.chassis.outage import Outage
from services.chassis.redis import ERRORS, Redis
from services.executor.capacity.breaker import BUCKETS
from services.executor.capacity.quotas import Limit, LocalCounter, corrected

log = logging.getLogger(__name__)

# How long Redis is left alone after it failed, in seconds.
REST_S = 1.0


class Link:
    """A connection that is left alone for a while after each failure, and says once when that begins and ends."""

    def __init__(self, redis: Redis | None) -> None:
        self._redis = redis
        self._outage = Outage(
            log,
            "Redis is gone, limits and breakers are local",
            "Redis is back, limits and breakers are shared",
            pause_s=REST_S,
        )

    async def ask(self, command: Any) -> Any | None:
        """The answer to `command(redis)`, or None when Redis cannot be reached."""
        if self._redis is None or self._outage.resting:
            return None
        try:
            answer = await command(self._redis)
        except ERRORS as error:
            self._outage.begin(error)
            return None
        self._outage.end()
        return answer if answer is not None else True


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


class RedisBoard:
    """The breakers' board: a hash from deployment to when it may be probed, in milliseconds since 1970."""

    def __init__(self, link: Link, replica: str) -> None:
        self._link = link
        self._replica = replica

    async def add_failure(self, ident: str, window_s: float) -> int | None:
        """Count a failure over all replicas."""
        bucket = int(time.time() // (window_s / BUCKETS))
        key = redis_keys.breaker_failures(ident)
        total = await self._link.ask(
            lambda redis: _ADD_FAILURE.run(redis, [key], [bucket, BUCKETS, int(window_s) + 1])
        )
        return None if total is None else int(total)

    async def open(self, ident: str, cooldown_s: float) -> None:
        """Tell all that a breaker is open, and let nobody probe before the time is up."""
        until = int((time.time() + cooldown_s) * 1000)

        async def tell(redis: Redis) -> None:
            async with redis.pipeline(transaction=True) as pipe:
                pipe.hset(redis_keys.BREAKERS, ident, until)
                pipe.delete(redis_keys.breaker_probe(ident))
                await pipe.execute()

        await self._link.ask(tell)

    async def close(self, ident: str) -> None:
        """Tell all that a breaker is closed."""

        async def forget(redis: Redis) -> None:
            async with redis.pipeline(transaction=True) as pipe:
                pipe.hdel(redis_keys.BREAKERS, ident)
                pipe.delete(redis_keys.breaker_failures(ident), redis_keys.breaker_probe(ident))
                await pipe.execute()

        await self._link.ask(forget)

    async def claim_probe(self, ident: str, probe_s: float) -> bool | None:
        """Ask to be the one that probes."""
        keys = (redis_keys.BREAKERS, redis_keys.breaker_probe(ident))
        arguments = (ident, int(time.time() * 1000), self._replica, int(probe_s * 1000))
        claimed = await self._link.ask(lambda redis: _CLAIM_PROBE.run(redis, keys, arguments))
        return None if claimed is None else bool(claimed)

    async def free_probe(self, ident: str) -> None:
        """Let another one probe."""
        key = redis_keys.breaker_probe(ident)
        await self._link.ask(lambda redis: _FREE_PROBE.run(redis, [key], [self._replica]))

    async def read(self) -> Mapping[str, float] | None:
        """The breakers that are not closed."""
        board = await self._link.ask(lambda redis: redis.hgetall(redis_keys.BREAKERS))
        if not isinstance(board, dict):
            return None
        now = time.time()
        return {ident.decode(): int(until) / 1000 - now for ident, until in board.items()}


# KEYS[1] the breakers, KEYS[2] the probe's claim. ARGV: the deployment, now in milliseconds since 1970, the replica,
# how long a claim holds in milliseconds. Returns 1 when the claim is ours.
_CLAIM_PROBE = Script("""
local probe_from = redis.call('HGET', KEYS[1], ARGV[1])
if probe_from and tonumber(probe_from) > tonumber(ARGV[2]) then return 0 end
return redis.call('SET', KEYS[2], ARGV[3], 'NX', 'PX', ARGV[4]) and 1 or 0
""")

# KEYS[1] the probe's claim; ARGV[1] the replica. A claim that another one has taken over since is not ours to free.
_FREE_PROBE = Script("return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('DEL', KEYS[1]) or 0")

# KEYS the limits' counters. ARGV: for each its total, what is wanted of it, its seconds to live.
# Returns the number of the limit that forbids it (0: none) and what is used of each.
_TAKE = Script("""
local used, forbidden = {}, 0
for i = 1, #KEYS do
  local total, want = tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1])
  used[i] = tonumber(redis.call('GET', KEYS[i]) or '0')
  if forbidden == 0 and used[i] + want > total and used[i] > 0 then forbidden = i end
end
if forbidden == 0 then
  for i = 1, #KEYS do
    used[i] = redis.call('INCRBY', KEYS[i], ARGV[3 * i - 1])
    redis.call('EXPIRE', KEYS[i], ARGV[3 * i])
  end
end
table.insert(used, 1, forbidden)
return used
""")


class RedisCounter:
    """Counts shared by all replicas, in windows of Redis' keys; local ones while Redis is gone."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._local = LocalCounter()

    async def take(self, ident: str, limits: Sequence[Limit], tokens: int) -> tuple[list[int], str, float]:
        """Count one request of so many tokens, unless that would pass a limit."""
        now = time.time()
        keys, arguments, ends = [], [], []
        for limit in limits:
            number, end = limit.window(now)
            keys.append(redis_keys.deployment_limit(ident, limit.name, number))
            arguments += [limit.total, tokens if limit.of_tokens else 1, int(end - now) + 60]
            ends.append(end)
        answer = await self._link.ask(lambda redis: _TAKE.run(redis, keys, arguments))
        if not isinstance(answer, list):
            return await self._local.take(ident, limits, tokens)
        forbidden, *used = answer
        if forbidden:
            return used, limits[forbidden - 1].name, ends[forbidden - 1] - now
        return used, "", 0.0

    async def add_tokens(self, ident: str, limits: Sequence[Limit], tokens: int, taken_unix_s: float) -> None:
        """Correct the tokens of the current windows."""

        async def correct(redis: Redis) -> bool:
            async with redis.pipeline(transaction=False) as pipe:
                for limit, number, left_s in corrected(limits, tokens, taken_unix_s):
                    key = redis_keys.deployment_limit(ident, limit.name, number)
                    pipe.incrby(key, tokens)
                    pipe.expire(key, int(left_s) + 60)
                await pipe.execute()
            return True

        if await self._link.ask(correct) is None:
            await self._local.add_tokens(ident, limits, tokens, taken_unix_s)
