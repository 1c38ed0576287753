"""Callers, candidates and events as tests of money need them."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from lumni.chat.v1 import chat_pb2
from lumni.classifier.v1 import classifier_pb2
from lumni.events.v1 import events_pb2
from lumni.executor.v1 import executor_pb2

from services.chassis import redis, redis_keys
from services.gateway.config.budgets import Budget, Period
from services.gateway.config.plans import Plan, Rate
from services.gateway.keys.permissions import Caller, Subject
from services.gateway.limits.admission import Admission, Limits
from services.gateway.requests.request_ids import request_id


@dataclass(frozen=True)
class Offer:
    """A candidate."""

    deployment: str = "paid"
    model: str = "gpt"
    max_cost_nano_usd: int = 1000


@dataclass(frozen=True)
class Made:
    """An attempt."""

    id: str
    cost_nano_usd: int
    model: str = "gpt"


@dataclass(frozen=True)
class Used:
    """Tokens."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True)
class Bill:
    """A report."""

    attempts: Sequence[Made] = ()
    usage: Used = field(default_factory=Used)


FREE = Offer("local", "smol", 0)
# For one attempt of an `Offer`.
TOTAL = Budget(1000, Period.TOTAL)


def caller(
    key: str = "k1",
    *,
    plan: Plan | None = None,
    rate: Rate | None = None,
    budget: Budget | None = None,
    others: Sequence[Subject] = (),
) -> Caller:
    """The holder of a key, with its limits and those of others it counts for."""
    plan = plan or Plan("test")
    users = [one.name.partition(":")[2] for one in others if one.name.startswith("user:")]
    return Caller(
        key_id=key,
        user_id=users[0] if users else "",
        plan=plan,
        tenant=f"key:{key}",
        subjects=(Subject(f"key:{key}", rate or plan.rate, budget or plan.budget), *others),
    )


async def admit(
    limits: Limits,
    who: Caller,
    *,
    tokens: int = 10,
    offers: Sequence[Offer] = (Offer(),),
    ident: str = "",
) -> Admission:
    """Ask for admission with a request of so many tokens."""
    return await limits.admit(
        who, request_id=ident or request_id(), prompt_tokens=tokens, output_tokens=0, candidates=offers
    )


def bill(admission: Admission, *costs: int, tokens: int = 10) -> Bill:
    """A report of attempts that cost so much."""
    made = [Made(f"{admission.request_id}/{i}", cost) for i, cost in enumerate(costs, 1)]
    return Bill(made, Used(tokens, 0))


def event(
    kind: events_pb2.UsageKind.ValueType,
    *,
    request: str,
    number: int = 1,
    cost: int = 0,
    bound: int = 1000,
    key: str = "k1",
    user: str = "u1",
    organization: str = "",
    started_us: int = 0,
    admitted_ms: int = 0,
    model: str = "gpt",
    tokens: int = 10,
    lasts_s: float = 0.0,
) -> events_pb2.UsageEvent:
    """What the executor appends of an attempt."""
    started_us = started_us or 1_790_000_000_000_000 + number
    return events_pb2.UsageEvent(
        kind=kind,
        context=chat_pb2.RequestContext(
            request_id=request,
            tenant=f"user:{user}",
            key_id=key,
            user_id=user,
            organization_id=organization,
            plan="test",
            admitted_unix_ms=admitted_ms,
            deadline_unix_ms=int(started_us / 1000 + lasts_s * 1000),
        ),
        attempt=executor_pb2.Attempt(
            id=f"{request}/{number}",
            deployment=f"{model}-1",
            model=model,
            provider="openai",
            usage=executor_pb2.Usage(prompt_tokens=tokens, completion_tokens=tokens),
            cost_nano_usd=cost,
            started_unix_us=started_us,
            duration_ms=12.5,
        ),
        max_cost_nano_usd=bound,
        category=classifier_pb2.CATEGORY_CODE,
        tier=classifier_pb2.TIER_FAST,
        operation=executor_pb2.OPERATION_CHAT,
    )


STARTED = events_pb2.USAGE_KIND_STARTED
FINAL = events_pb2.USAGE_KIND_FINAL
PARTIAL = events_pb2.USAGE_KIND_PARTIAL
FAILED = events_pb2.USAGE_KIND_FAILED


async def append(client: redis.Redis, *events: events_pb2.UsageEvent | bytes) -> None:
    """Append usage events to the stream."""
    async with client.pipeline(transaction=False) as pipe:
        for one in events:
            text = one if isinstance(one, bytes) else one.SerializeToString()
            pipe.xadd(redis_keys.USAGE_STREAM, {redis_keys.EVENT_FIELD: text})
        await pipe.execute()


async def spent(client: redis.Redis, subject: str, period: str = "total") -> int:
    """What Redis counts as spent by a subject: as the ledger wrote, and what it does not know yet."""
    ledger, pending = await client.hmget(redis_keys.spent(subject, period), ["ledger", "pending"])
    return int(ledger or 0) + int(pending or 0)


async def held(client: redis.Redis, subject: str) -> int:
    """What a subject's open reservations hold."""
    return int(await client.get(redis_keys.held(subject)) or 0)


def this_minute_ends_in() -> float:
    """Seconds until the next fixed window begins, by this machine's clock, which is Valkey's too."""
    return 60 - time.time() % 60


async def a_whole_minute(needed_s: float = 5) -> None:
    """Wait for the next window when less than that is left of this one, so that a test sees one window only."""
    if this_minute_ends_in() < needed_s:
        await asyncio.sleep(this_minute_ends_in() + 0.05)


async def nothing_is_under_way(client: redis.Redis) -> bool:
    """Whether the key `k1` holds no parallel place."""
    return not await client.zcard(redis_keys.live("key:k1"))


async def nothing_is_held(client: redis.Redis) -> bool:
    """Whether no reservation of the key `k1` is open."""
    return 0 == await held(client, "key:k1")
