"""Every key, stream and channel in Redis, so that no two services spell one differently."""

PREFIX = "lumni"

# Streams: appended by one service, read by the ledger's consumer group. The first partition of each; see `partition`.
USAGE_STREAM = f"{PREFIX}:usage"
DECISION_STREAM = f"{PREFIX}:decisions"
LEDGER_GROUP = "ledger"
# The one field of an entry: a serialized lumni.events.v1 message.
EVENT_FIELD = "event"


def partition(stream: str, number: int) -> str:
    """A partition of a stream, from 0: a stream of its own, so that partitions are spread over a cluster."""
    return f"{stream}:{number}" if number else stream


def usage_memory(stream: str) -> str:
    """A random name of what Redis remembers of a usage stream: another one means that it lost its memory.

    In the stream's slot of a cluster.
    """
    return f"{{{stream}}}:memory"


# The names of the executor replicas that ever published health; one whose hash has expired is gone.
HEALTH_REPLICAS = f"{PREFIX}:health"
# How long a replica's health outlives its last publication, in milliseconds; it publishes every second.
HEALTH_TTL_MS = 5000


# What the keys of each kind begin with.
HEALTH = f"{PREFIX}:health:"
BREAKER = f"{PREFIX}:breaker:"
LIMIT = f"{PREFIX}:limit:"
# What selectors learn together is added in one transaction, and so in one slot of a cluster.
RECENT = f"{PREFIX}:{{learnt}}:recent:"
SPLIT = f"{PREFIX}:{{learnt}}:split:"


def health(replica: str) -> str:
    """A hash from deployment id to a serialized executor.v1.DeploymentHealth; it expires."""
    return f"{HEALTH}{replica}"


# A hash from deployment id to when its open circuit breaker may be probed, in milliseconds since 1970.
BREAKERS = f"{PREFIX}:breakers"


def breaker_failures(deployment: str) -> str:
    """A hash from a slice of time to the deployment's failures in it, over all replicas."""
    return f"{BREAKER}{deployment}:failures"


def breaker_probe(deployment: str) -> str:
    """The replica that probes the deployment at the moment."""
    return f"{BREAKER}{deployment}:probe"


def deployment_limit(deployment: str, limit: str, window: int) -> str:
    """What is used of a deployment's rpm, tpm, rpd or tpd in one window; all of a deployment's in one slot."""
    return f"{LIMIT}{{deployment:{deployment}}}:{limit}:{window}"


# Appended by the gateway's admin routes, read by every gateway process: which keys, users and organizations changed.
KEY_CHANGES = f"{PREFIX}:keys:changes"
# Entries it keeps; a process that missed more finds them in PostgreSQL.
KEY_CHANGES_LENGTH = 10_000

# A hash from gateway process to the version of the configuration files that it serves; readers remove who has gone.
CONFIGURATIONS = f"{PREFIX}:configurations"

# Everything that one admission or settlement touches lives in one slot of a cluster, since one script touches it all:
# in a partition. There is one, or in a cluster so many (services.gateway.limits.partitions).
MONEY = "money"
MONEY_PARTITIONS = 256


def money_partition(number: int) -> str:
    """A partition of a cluster, from 0."""
    return f"{MONEY}:{number}"


def _money(part: str, kind: str) -> str:
    # As common.lua puts the keys together, from the name of a partition's reservations.
    return f"{PREFIX}:{{{part}}}:{kind}"


def reservations(part: str = MONEY) -> str:
    """A sorted set from request id to when its reservation may be called abandoned, in milliseconds of Redis' clock."""
    return _money(part, "reservations")


def probe(part: str = MONEY) -> str:
    """Written to find out whether Redis takes writes again."""
    return _money(part, "probe")


def reservation(request_id: str, part: str = MONEY) -> str:
    """A hash: what a request reserved, and which of its attempts are settled."""
    return _money(part, f"reservation:{request_id}")


def rate(subject: str, part: str = MONEY) -> str:
    """A hash: requests and tokens of a subject (`key:ID`, `user:ID`, ...) in the current minute."""
    return _money(part, f"rate:{subject}")


def model_subject(key_id: str, model: str) -> str:
    """The subject of a key's limit for one model; the settlement script reads the model from it again."""
    return f"key:{key_id}:model:{model}"


def live(subject: str, part: str = MONEY) -> str:
    """A sorted set from request id to when it must be over: the requests of a subject under way."""
    return _money(part, f"live:{subject}")


def held(subject: str, part: str = MONEY) -> str:
    """What open reservations of a subject hold, in nano-USD."""
    return _money(part, f"held:{subject}")


def spent(subject: str, period: str, part: str = MONEY) -> str:
    """A hash: what a subject spent in a period as the ledger says, and what it does not know yet."""
    return _money(part, f"spent:{subject}:{period}")


# The response cache, in one slot of a cluster, since its bounds hold for all of it; the Lua scripts append the names.
# Nothing here names a caller: tenants and answers go by digests under a secret of the gateway.
CACHE = f"{PREFIX}:{{cache}}"
# By answer: its encrypted text, which expires; and the request that is making it, while it does.
CACHED_ANSWER = f"{CACHE}:answer:"
CACHE_FLIGHT = f"{CACHE}:flight:"
# Sorted sets from tenant/answer to when that expires, in milliseconds of Redis' clock: of all answers, and by tenant.
CACHE_EXPIRING = f"{CACHE}:expiring"
CACHE_TENANT = f"{CACHE}:tenant:"
# Hashes: the bytes of each tenant/answer, and of each tenant and all together.
CACHE_SIZES = f"{CACHE}:sizes"
CACHE_HELD = f"{CACHE}:held"
# By the digest of all of a request but its last message, hashes from answer to what finds similar messages, with the
# answer's end, and to that message, both encrypted; and a hash from tenant/answer to that digest.
CACHE_QUESTIONS = f"{CACHE}:questions:"
CACHE_QUESTION_TEXTS = f"{CACHE}:texts:"
CACHE_LISTED = f"{CACHE}:listed"
# By tenant, or all: when it was purged; until no request is under way any more that began before.
CACHE_PURGED = f"{CACHE}:purged:"


def recent(tenant: str, bucket: int) -> str:
    """A hash from model to how often it was selected first for a tenant in one bucket of time; it expires."""
    return f"{RECENT}{tenant}:{bucket}"


# A serialized lumni.events.v1.LearnedEvidence; the ledger writes it anew every few minutes.
LEARNED = f"{PREFIX}:learned"
EXPLORATION = f"{PREFIX}:exploration:"


def exploration(day: int) -> str:
    """What selectors have asked for of one day's (UTC) exploration budget, in nano-USD; it expires."""
    return f"{EXPLORATION}{day}"


def split(plan: str, version: str, window: int) -> str:
    """A hash from bin to how many strong win rates fell into it in one window; it expires.

    The rates are those that one version of the classifier's weights gave a plan's requests.
    """
    return f"{SPLIT}{window}:{version}:{plan}"
