"""Read and write others' keys in Redis as each service's user: python -m tests.attacks.redis_acl.

One service that was taken over holds one user's password. This asks Redis for every user and every kind of key whether
commands that read, change, move or remove a value would be permitted, and commands over the whole server. A test runs
the same commands in earnest, directly and from scripts, on a Redis of its own.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias

from redis.exceptions import NoPermissionError, RedisError

from services.chassis import redis, redis_acl, redis_keys
from tests.attacks.target import Target, alone

NAME = "others' keys in Redis"
# A key of each kind.
KEYS: Mapping[str, str] = {
    "reservations": redis_keys.reservations(),
    "reservation": redis_keys.reservation("r"),
    "rate": redis_keys.rate("key:k"),
    "live": redis_keys.live("key:k"),
    "held": redis_keys.held("key:k"),
    "spent": redis_keys.spent("key:k", "total"),
    "probe": redis_keys.probe(),
    "key changes": redis_keys.KEY_CHANGES,
    "decisions": redis_keys.DECISION_STREAM,
    "usage": redis_keys.USAGE_STREAM,
    "usage memory": redis_keys.usage_memory(redis_keys.USAGE_STREAM),
    "replicas": redis_keys.HEALTH_REPLICAS,
    "health": redis_keys.health("one"),
    "breakers": redis_keys.BREAKERS,
    "breaker failures": redis_keys.breaker_failures("d"),
    "breaker probe": redis_keys.breaker_probe("d"),
    "limit": redis_keys.deployment_limit("d", "rpm", 1),
    "recent": redis_keys.recent("t", 1),
    "split": redis_keys.split("p", "v", 1),
    "cached answer": f"{redis_keys.CACHED_ANSWER}d",
    "cache sizes": redis_keys.CACHE_SIZES,
    "foreign": "another-program:key",
}
MONEY = frozenset("reservations reservation rate live held spent".split())
BREAKER = frozenset(("breakers", "breaker failures", "breaker probe"))
STREAMS = frozenset(("decisions", "usage"))
CACHE = frozenset(("cached answer", "cache sizes"))
# On which kinds of keys a user may run at least one command that reads, and one that writes.
READS: Mapping[str, frozenset[str]] = {
    "gateway": MONEY | CACHE | {"key changes", "replicas", "health"},
    "ledger": MONEY | STREAMS | {"replicas", "health"},
    "executor": BREAKER | {"replicas", "usage memory", "limit"},
    "selector": frozenset(("replicas", "health", "recent", "split")),
}
WRITES: Mapping[str, frozenset[str]] = {
    "gateway": MONEY | CACHE | STREAMS | {"probe", "key changes"},
    "ledger": MONEY | STREAMS,
    "executor": BREAKER | {"replicas", "health", "limit", "usage", "usage memory"},
    "selector": frozenset(("recent", "split")),
}
READERS = (
    ("GET", "{key}"),
    ("HGET", "{key}", "f"),
    ("HMGET", "{key}", "f"),
    ("HGETALL", "{key}"),
    ("HVALS", "{key}"),
    ("SMEMBERS", "{key}"),
    ("ZRANGE", "{key}", "0", "-1"),
    ("ZCARD", "{key}"),
    ("XRANGE", "{key}", "-", "+"),
    ("XREVRANGE", "{key}", "+", "-"),
    ("XREADGROUP", "GROUP", "g", "c", "STREAMS", "{key}", ">"),
    ("DUMP", "{key}"),
    ("SORT", "{key}"),
    ("COPY", "{key}", "stolen"),
)
WRITERS = (
    ("SET", "{key}", "0"),
    ("GETSET", "{key}", "0"),
    ("INCRBY", "{key}", "1"),
    ("DECRBY", "{key}", "1"),
    ("APPEND", "{key}", "0"),
    ("HSET", "{key}", "f", "0"),
    ("HINCRBY", "{key}", "f", "1"),
    ("HDEL", "{key}", "f"),
    ("SADD", "{key}", "m"),
    ("SREM", "{key}", "m"),
    ("ZADD", "{key}", "1", "m"),
    ("ZREM", "{key}", "m"),
    ("XADD", "{key}", "*", "event", "forged"),
    ("XTRIM", "{key}", "MAXLEN", "0"),
    ("XDEL", "{key}", "0-1"),
    ("XGROUP", "DESTROY", "{key}", "g"),
    ("DEL", "{key}"),
    ("UNLINK", "{key}"),
    ("EXPIRE", "{key}", "1"),
    ("PERSIST", "{key}"),
    ("RENAME", "{key}", "moved"),
    ("RESTORE", "{key}", "0", "x"),
)
# What no service may do, whatever the key.
SERVER = (
    ("KEYS", "*"),
    ("FLUSHALL",),
    ("FLUSHDB",),
    ("CONFIG", "GET", "*"),
    ("CONFIG", "SET", "maxmemory", "1"),
    ("ACL", "LIST"),
    ("ACL", "SETUSER", "default", "nopass"),
    ("SHUTDOWN", "NOSAVE"),
    ("REPLICAOF", "127.0.0.1", "1"),
    ("MIGRATE", "127.0.0.1", "1", "", "0", "1", "KEYS", "another-program:key"),
    ("MODULE", "LIST"),
    ("MONITOR",),
    ("CLIENT", "LIST"),
    ("CLIENT", "KILL", "ID", "1"),
    ("SWAPDB", "0", "1"),
    ("FUNCTION", "LIST"),
    ("SCRIPT", "FLUSH"),
    ("SUBSCRIBE", "c"),
    ("PUBLISH", "c", "m"),
    ("SLOWLOG", "GET"),
)
# Runs the command that its arguments name, so that the script declares no key.
SCRIPT = "return redis.call(unpack(ARGV))"


# Whether a user may run a command.
Permits: TypeAlias = Callable[[Sequence[str]], Awaitable[bool]]


def asking(operator: Any, user: str) -> Permits:
    """Redis' own answer, which changes nothing."""

    async def permits(command: Sequence[str]) -> bool:
        answer = await operator.execute_command("ACL", "DRYRUN", user, *command)
        return redis.text(answer) == "OK"

    return permits


def trying(client: Any) -> Permits:
    """Run the command as the client's user, directly and from a script; another error than a missing permission is a yes."""

    async def permits(command: Sequence[str]) -> bool:
        ways = [tuple(command)]
        if command[0] not in ("MONITOR", "SUBSCRIBE", "SHUTDOWN"):
            ways.append(("EVAL", SCRIPT, "0", *command))
        for way in ways:
            try:
                await client.execute_command(*way)
            except NoPermissionError:
                continue
            except RedisError as error:
                # What a script may not do is an error of the script.
                if "ACL failure" in str(error) or "not allowed from script" in str(error):
                    continue
            return True
        return False

    return permits


async def wrong(user: str, permits: Permits) -> list[str]:
    """What a user may do and should not, and what it may not do and must."""
    found = []
    for kind, key in KEYS.items():
        for verb, commands, expected in (("read", READERS, READS), ("write", WRITERS, WRITES)):
            able = [
                command[0]
                for command in commands
                if await permits([word.format(key=key) for word in command])
            ]
            if bool(able) != (kind in expected[user]):
                found.append(f"{user} can {verb} {kind}: {', '.join(able) or 'by no command'}")
    return found + [f"{user} can run {' '.join(one)}" for one in SERVER if await permits(one)]


async def attack(target: Target, *, seconds: float) -> list[str]:
    """Ask for every user; it takes a second, however many are given."""
    held = []
    async with redis.connect(target.redis, timeout_s=min(5.0, seconds)) as operator:
        for user in redis_acl.USERS:
            found = await wrong(user, asking(operator, user))
            assert not found, found
            reach = sorted(READS[user] | WRITES[user])
            held.append(f"{user} reaches {', '.join(reach)} and nothing else")
    return held


if __name__ == "__main__":
    alone(NAME, attack)
