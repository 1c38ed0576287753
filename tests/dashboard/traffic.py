"""Traffic as a company's gateway sees it, for the ledger: requests of many users, refusals, failures and fallbacks."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from lumni.chat.v1 import chat_pb2
from lumni.classifier.v1 import classifier_pb2
from lumni.events.v1 import events_pb2
from lumni.executor.v1 import executor_pb2
from lumni.selector.v1 import selector_pb2

from services.gateway import postgres
from services.gateway.ledger import event_rows
from services.gateway.ledger.store import LedgerStore

BATCH = 500


@dataclass(frozen=True)
class Model:
    """A model that traffic goes to; prices in nano-USD per million tokens."""

    name: str
    provider: str
    quality: float
    input: int
    output: int
    tokens_s: float


FAST = (
    Model("gemini-2.5-flash-lite", "gemini", 0.55, 100_000_000, 400_000_000, 250),
    Model("gpt-4o-mini", "openai", 0.52, 150_000_000, 600_000_000, 90),
    Model("llama-3.3-70b", "groq", 0.50, 590_000_000, 790_000_000, 270),
)
POWERFUL = (
    Model("claude-sonnet-4-5", "anthropic", 0.88, 3_000_000_000, 15_000_000_000, 70),
    Model("gpt-5", "openai", 0.86, 1_250_000_000, 10_000_000_000, 80),
)
FACTORS = (
    ("asks for a program", -0.2, 1.4),
    ("words of mathematics", -0.3, 1.1),
    ("a greeting", -1.6, -0.4),
    ("length of the question", -0.6, 0.9),
    ("several steps are asked for", 0.1, 1.2),
)
PARTS = {
    "benchmark_ranking": 0.2,
    "benchmark_score": 0.3,
    "rate_limit_availability": 0.15,
    "provider_priority": 0.05,
    "recent_usage": 0.05,
    "cost_efficiency": 0.2,
    "latency": 0.05,
}
CATEGORIES = (
    "chat",
    "code",
    "writing",
    "factual_question",
    "summarization",
    "math",
    "extraction",
    "translation",
)
WEIGHTS = (20, 24, 14, 16, 9, 5, 7, 5)
ORGANIZATIONS = ("acme", "globex", "initech")
REFUSALS = ("RATE_LIMIT_EXCEEDED", "BUDGET_EXCEEDED")


@dataclass(frozen=True)
class Happened:
    """One request: what was decided, and the attempts that were made."""

    decision: events_pb2.DecisionEvent
    attempts: list[events_pb2.UsageEvent]


def requests(until: datetime, lasts: timedelta, count: int, seed: int = 1) -> Iterator[Happened]:
    """So many requests, spread over a length of time that ends at `until`; more of them by day than by night."""
    chance = random.Random(seed)
    moments: list[datetime] = []
    while len(moments) < count:
        moment = until - lasts * chance.random()
        by_day = 0.25 + 0.75 * max(0.0, 1 - abs(moment.hour - 14) / 8)
        if lasts <= timedelta(hours=2) or chance.random() < by_day:
            moments.append(moment)
    for number, moment in enumerate(sorted(moments)):
        yield _request(chance, moment, number, seed)


def _request(chance: random.Random, moment: datetime, number: int, seed: int) -> Happened:
    category = chance.choices(CATEGORIES, WEIGHTS)[0]
    hard = chance.random() < (0.45 if category in ("code", "math") else 0.08)
    # Those of the tier first, in some order; the others are what may be fallen back on.
    likely, others = (POWERFUL, FAST) if hard else (FAST, POWERFUL)
    first = [*chance.sample(likely, len(likely)), *chance.sample(others, len(others))]
    user = f"user-{min(int(chance.expovariate(0.12)), 40):02d}"
    organization = ORGANIZATIONS[int(user[-2:]) % len(ORGANIZATIONS)]
    at_us = int(moment.timestamp() * 1e6)
    noise = f"{chance.getrandbits(76):019x}"
    stamp = f"{at_us // 1000:012x}"
    request = f"{stamp[:8]}-{stamp[8:]}-7{noise[:3]}-9{noise[3:6]}-{noise[6:18]}"
    context = chat_pb2.RequestContext(
        request_id=request,
        tenant=f"organization:{organization}",
        key_id=f"key_{int(user[-2:]):04x}",
        user_id=user,
        organization_id=organization,
        plan="team" if organization == "acme" else "starter",
        admitted_unix_ms=at_us // 1000,
        deadline_unix_ms=at_us // 1000 + 60_000,
        traceparent=f"00-{chance.getrandbits(128):032x}-{chance.getrandbits(64):016x}-01",
    )
    tier = classifier_pb2.TIER_POWERFUL if hard else classifier_pb2.TIER_FAST
    kind = classifier_pb2.Category.Value(f"CATEGORY_{category.upper()}")
    decision = events_pb2.DecisionEvent(
        context=context,
        classification=classifier_pb2.Classification(
            tier=tier,
            category=kind,
            strong_win_rate=chance.uniform(0.55, 0.95) if hard else chance.uniform(0.03, 0.45),
            confidence=chance.uniform(0.6, 0.99),
            language=chance.choice(("en", "en", "en", "de", "fr")),
            version="fast",
            factors=[
                classifier_pb2.Factor(
                    name=name, value=chance.randint(1, 9), contribution=chance.uniform(low, high)
                )
                for name, low, high in chance.sample(FACTORS, 4)
            ],
        ),
        selection=_selection(chance, tier, first, category),
        decided_unix_ms=at_us // 1000,
        requested_model="auto" if chance.random() < 0.8 else first[0].name,
    )
    if chance.random() < 0.015:
        decision.refusal = chance.choice(REFUSALS)
        return Happened(decision, [])
    attempts: list[events_pb2.UsageEvent] = []
    prompt = int(chance.lognormvariate(5.6, 1.1)) + 8
    started = at_us + 4_000
    # One provider has a bad time again and again.
    bad = 0.4 if number % 20 < 6 and first[0].provider == "openai" else 0.01
    if chance.random() < bad:
        attempts.append(_attempt(context, first[0], 1, started, kind, tier, prompt, 0, 350.0, failed=True))
        started += 360_000
    answer = int(chance.lognormvariate(4.9, 0.9)) + 3
    winner = first[len(attempts)]
    lasts_ms = 180 + chance.expovariate(1 / 120) + answer / winner.tokens_s * 1000
    cached = prompt // 2 if chance.random() < 0.25 else 0
    attempts.append(
        _attempt(
            context, winner, len(attempts) + 1, started, kind, tier, prompt, answer, lasts_ms, cached=cached
        )
    )
    return Happened(decision, attempts)


def _selection(
    chance: random.Random, tier: classifier_pb2.Tier.ValueType, models: list[Model], category: str
) -> selector_pb2.Selection:
    candidates = [
        selector_pb2.Candidate(
            deployment=f"{one.provider}/{one.name}",
            model=one.name,
            provider=one.provider,
            quality=one.quality,
            parts=[
                selector_pb2.Part(
                    name=name,
                    value=one.quality
                    if name.startswith("benchmark")
                    else max(chance.uniform(0.9, 1.0) - 0.12 * place, 0),
                    weight=weight,
                )
                for name, weight in PARTS.items()
            ],
            max_cost_nano_usd=one.output * 512 // 1_000_000,
            input_nano_usd_per_mtok=one.input,
            output_nano_usd_per_mtok=one.output,
            benchmarks=[selector_pb2.Benchmark(name="livebench", score=100 * one.quality)],
        )
        for place, one in enumerate(models)
    ]
    for one in candidates:
        one.score = round(sum(part.value * part.weight for part in one.parts), 3)
    return selector_pb2.Selection(
        tier=tier,
        strategy="balanced",
        reason=f"{models[0].name} is the cheapest model that is good enough for {category.replace('_', ' ')}",
        candidates=candidates,
        removals=[selector_pb2.Removal(filter="access_groups", models=["o3-pro"])],
    )


def _attempt(
    context: chat_pb2.RequestContext,
    model: Model,
    number: int,
    started_us: int,
    category: classifier_pb2.Category.ValueType,
    tier: classifier_pb2.Tier.ValueType,
    prompt: int,
    answer: int,
    lasts_ms: float,
    *,
    cached: int = 0,
    failed: bool = False,
) -> events_pb2.UsageEvent:
    return events_pb2.UsageEvent(
        kind=events_pb2.USAGE_KIND_FAILED if failed else events_pb2.USAGE_KIND_FINAL,
        context=context,
        attempt=executor_pb2.Attempt(
            id=f"{context.request_id}/{number}",
            deployment=f"{model.provider}/{model.name}",
            model=model.name,
            provider=model.provider,
            error_class="server_error" if failed else "",
            status_code=503 if failed else 200,
            usage=executor_pb2.Usage(prompt_tokens=prompt, completion_tokens=answer, cached_tokens=cached),
            cost_nano_usd=0 if failed else (prompt * model.input + answer * model.output) // 1_000_000,
            started_unix_us=started_us,
            duration_ms=lasts_ms,
            first_chunk_ms=0 if failed else min(180, lasts_ms / 2),
        ),
        max_cost_nano_usd=model.output * 4096 // 1_000_000,
        category=category,
        tier=tier,
        operation=executor_pb2.OPERATION_CHAT,
        stream=not failed,
    )


async def write(pool: postgres.Pool, happened: list[Happened]) -> None:
    """Write them as the ledger writes what it reads from its streams."""
    ledger = LedgerStore(pool)
    for start in range(0, len(happened), BATCH):
        part = happened[start : start + BATCH]
        await ledger.write(
            [event_rows.usage(event.SerializeToString()) for one in part for event in one.attempts]
        )
        await ledger.write_decisions([event_rows.decision(one.decision.SerializeToString()) for one in part])
