"""What each attempt looks like from outside, in numbers."""

import prometheus_client

from services.executor.attempts.model import Attempt, AttemptState, EventSink, Work

BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320)

ATTEMPTS = prometheus_client.Counter(
    "lumni_attempts",
    "Calls of providers, by how they ended; error is empty for an answer.",
    ["deployment", "error"],
)
DURATION = prometheus_client.Histogram(
    "lumni_attempt_duration_seconds",
    "Time from calling a provider to its end.",
    ["deployment"],
    buckets=BUCKETS,
)
FIRST_CHUNK = prometheus_client.Histogram(
    "lumni_attempt_first_chunk_seconds",
    "Time to the first chunk of a stream.",
    ["deployment"],
    buckets=BUCKETS,
)
TOKENS = prometheus_client.Counter("lumni_tokens", "Tokens, by kind.", ["deployment", "kind"])
COST = prometheus_client.Counter("lumni_provider_cost_nano_usd", "What attempts cost.", ["deployment"])


class Observed:
    """Books that also measure."""

    def __init__(self, books: EventSink) -> None:
        self._books = books

    async def started(self, work: Work, attempt: Attempt) -> None:
        """Record an attempt before its provider is called."""
        await self._books.started(work, attempt)

    def ended(self, work: Work, attempt: Attempt) -> None:
        """Record how an attempt ended, and count it."""
        self._books.ended(work, attempt)
        _measure(attempt)


def _measure(attempt: Attempt) -> None:
    name = attempt.deployment.id
    ATTEMPTS.labels(name, attempt.error or "").inc()
    DURATION.labels(name).observe(attempt.duration_ms / 1000)
    if attempt.first_chunk_ms:
        FIRST_CHUNK.labels(name).observe(attempt.first_chunk_ms / 1000)
    if attempt.state is not AttemptState.FAILED:
        TOKENS.labels(name, "prompt").inc(attempt.usage.prompt_tokens)
        TOKENS.labels(name, "completion").inc(attempt.usage.completion_tokens)
        TOKENS.labels(name, "cached").inc(attempt.usage.cached_tokens)
        TOKENS.labels(name, "reasoning").inc(attempt.usage.reasoning_tokens)
        COST.labels(name).inc(attempt.cost_nano_usd)
