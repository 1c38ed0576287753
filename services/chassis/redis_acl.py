"""Who may do what in Redis: each service is a user there, with the commands that its code runs on the keys it owns.

A grant ties commands to keys, so that a service that may delete keys of one kind cannot delete those of another. A
command is allowed when one grant allows it on all keys it names; what Lua scripts call is checked in the same way.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256

from services.chassis import redis_keys

# What every connection needs; none of it names a key.
CONNECTION = ("ping", "client|setinfo", "client|setname", "select", "cluster|slots", "asking")
TRANSACTION = ("multi", "exec", "discard")
# The ways to run a script, which the chassis tries one after the other (services.chassis.lua).
SCRIPTS = ("evalsha", "eval")


@dataclass(frozen=True)
class Grant:
    """Commands on all keys that match one of the patterns; without a pattern, commands that name no key.

    `access` is "RW", "R" or "W": whether values may be read, and whether they may be changed.
    """

    commands: tuple[str, ...]
    keys: tuple[str, ...] = ()
    access: str = "RW"

    def rule(self) -> str:
        """The grant in Redis' words."""
        words = [f"%{self.access}~{pattern}" for pattern in self.keys]
        words += [f"+{command}" for command in self.commands]
        return " ".join(words)


def _every(*beginnings: str) -> tuple[str, ...]:
    return tuple(f"{beginning}*" for beginning in beginnings)


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# Of all partitions. Other keys have another name in the braces.
_PARTS = f"{redis_keys.MONEY}*"
_RESERVED = (
    redis_keys.reservations(_PARTS),
    redis_keys.reservation("*", _PARTS),
    redis_keys.rate("*", _PARTS),
    redis_keys.live("*", _PARTS),
    redis_keys.held("*", _PARTS),
    redis_keys.spent("*", "*", _PARTS),
)
# All partitions of the streams; the first has no number.
_USAGE = (redis_keys.USAGE_STREAM, f"{redis_keys.USAGE_STREAM}:*")
_DECISIONS = (redis_keys.DECISION_STREAM, f"{redis_keys.DECISION_STREAM}:*")

# What services.chassis.published_health reads.
_HEALTH_READ = (
    Grant(("smembers",), (redis_keys.HEALTH_REPLICAS,), "R"),
    Grant(("hvals",), _every(redis_keys.HEALTH), "R"),
)

# The grants of each service; one that is not here has no business in Redis.
USERS: Mapping[str, tuple[Grant, ...]] = {
    "gateway": (
        # A script declares one key, and makes the others' names itself.
        Grant((*CONNECTION, "time", "scan")),
        Grant(
            _words(
                "evalsha eval hget hmget hset hsetnx hincrby hdel get exists del expire pexpire pexpireat "
                "incrby decrby zadd zcard zrem zremrangebyscore"
            ),
            _RESERVED,
        ),
        Grant(("set",), (redis_keys.probe(_PARTS),), "W"),
        Grant(_words("xadd xread xrevrange"), (redis_keys.KEY_CHANGES,)),
        Grant(_words("hset hgetall hdel"), (redis_keys.CONFIGURATIONS,)),
        # Of usage it appends what its cache answered.
        Grant(("xadd",), (*_DECISIONS, *_USAGE), "W"),
        Grant(
            _words(
                "evalsha eval get set del pexpire hget hmget hgetall hlen hstrlen hset hdel hincrby zadd zrem zrange"
            ),
            _every(redis_keys.CACHE),
        ),
        *_HEALTH_READ,
    ),
    "ledger": (
        Grant((*CONNECTION, "time", "info")),
        Grant(
            _words(
                "evalsha eval hget hmget hset hsetnx hincrby exists del expire pexpire pexpireat decrby "
                "zadd zrem zrange"
            ),
            _RESERVED,
        ),
        Grant(
            (
                *SCRIPTS,
                *_words("xgroup|create xgroup|delconsumer xreadgroup xautoclaim xack xtrim xpending"),
                *_words("xinfo|consumers xinfo|groups xinfo|stream"),
            ),
            (*_USAGE, *_DECISIONS),
        ),
        Grant(("set",), (redis_keys.LEARNED,), "W"),
        *_HEALTH_READ,
    ),
    "executor": (
        Grant((*CONNECTION, *TRANSACTION, "info")),
        Grant(_words("sadd srem smembers"), (redis_keys.HEALTH_REPLICAS,)),
        Grant(_words("del hset pexpire exists"), _every(redis_keys.HEALTH)),
        Grant(
            (*SCRIPTS, *_words("hset hget hdel hgetall hincrby expire get set del")),
            (redis_keys.BREAKERS, *_every(redis_keys.BREAKER)),
        ),
        Grant((*SCRIPTS, *_words("get incrby expire")), _every(redis_keys.LIMIT)),
        # It appends to the stream and sees how far the ledger is, and reads nothing that others appended.
        Grant(_words("xadd exists"), _USAGE, "W"),
        Grant(_words("xinfo|groups xpending"), _USAGE, "R"),
        Grant(_words("set get"), tuple(map(redis_keys.usage_memory, _USAGE))),
    ),
    "selector": (
        Grant((*CONNECTION, *TRANSACTION)),
        *_HEALTH_READ,
        Grant(_words("hincrby hgetall expire"), _every(redis_keys.RECENT, redis_keys.SPLIT)),
        Grant(("get",), (redis_keys.LEARNED,), "R"),
        Grant(_words("incrby expire"), _every(redis_keys.EXPLORATION)),
    ),
}


def digest(password: str) -> str:
    """What Redis keeps of a password."""
    return sha256(password.encode()).hexdigest()


def lines(digests: Mapping[str, str]) -> Iterable[str]:
    """The users as lines of Redis' configuration file; `digests` are those of their passwords."""
    for name, (connection, *grants) in USERS.items():
        rules = " ".join(f"({grant.rule()})" for grant in grants)
        yield f"user {name} on #{digests[name]} resetchannels {connection.rule()} {rules}"
