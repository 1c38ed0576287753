"""What each attempt looks like from outside: metrics, and a span in the words of OpenTelemetry's GenAI conventions.

The constants are ours: the published Python ones are deprecated. Portkey still reads the older `gen_ai.system`.
"""

import time
from functools import cache

import prometheus_client
from opentelemetry.trace import SpanKind, StatusCode

from services.chassis import telemetry
from services.executor.attempts.messages import Origin
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

# The metrics of each deployment, looked up once.
_attempts, _tokens, _cost = cache(ATTEMPTS.labels), cache(TOKENS.labels), cache(COST.labels)
_duration, _first_chunk = cache(DURATION.labels), cache(FIRST_CHUNK.labels)

# The conventions' names of providers, where they differ from LiteLLM's.
PROVIDERS = {
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "vertex_ai": "gcp.vertex_ai",
    "xai": "x_ai",
}


class Observer:
    """Measures and traces attempts on their way to another sink."""

    def __init__(self, sink: EventSink) -> None:
        self._sink = sink

    async def started(self, work: Work, attempt: Attempt) -> None:
        """Record an attempt before its provider is called."""
        await self._sink.started(work, attempt)

    def ended(self, work: Work, attempt: Attempt) -> None:
        """Record how an attempt ended, then measure and trace it."""
        self._sink.ended(work, attempt)
        _measure(attempt)
        if telemetry.recording():
            _trace(work, attempt)


def _measure(attempt: Attempt) -> None:
    name = attempt.deployment.id
    _attempts(name, attempt.error or "").inc()
    exemplar = telemetry.exemplar()
    _duration(name).observe(attempt.duration_ms / 1000, exemplar)
    if attempt.first_chunk_ms:
        _first_chunk(name).observe(attempt.first_chunk_ms / 1000, exemplar)
    if attempt.state is not AttemptState.FAILED:
        _tokens(name, "prompt").inc(attempt.usage.prompt_tokens)
        _tokens(name, "completion").inc(attempt.usage.completion_tokens)
        _tokens(name, "cached").inc(attempt.usage.cached_tokens)
        _tokens(name, "reasoning").inc(attempt.usage.reasoning_tokens)
        _cost(name).inc(attempt.cost_nano_usd)


def _trace(work: Work, attempt: Attempt) -> None:
    """Add a span for an attempt that has ended, below the current one."""
    provider = PROVIDERS.get(attempt.deployment.provider, attempt.deployment.provider)
    ended_ns = time.time_ns()
    began_ns = ended_ns - int(attempt.duration_ms * 1_000_000)
    span = telemetry.tracer.start_span(
        f"{work.operation.value} {attempt.deployment.model}",
        kind=SpanKind.CLIENT,
        start_time=began_ns,
        attributes={
            "gen_ai.operation.name": work.operation.value,
            "gen_ai.provider.name": provider,
            "gen_ai.system": provider,
            "gen_ai.request.model": attempt.deployment.model,
            "gen_ai.response.model": attempt.deployment.litellm_model,
            "gen_ai.usage.input_tokens": attempt.usage.prompt_tokens,
            "gen_ai.usage.output_tokens": attempt.usage.completion_tokens,
            "gen_ai.usage.cache_read.input_tokens": attempt.usage.cached_tokens,
            "gen_ai.usage.cache_creation.input_tokens": attempt.usage.cache_write_tokens,
            "lumni.attempt": attempt.id,
            "lumni.deployment": attempt.deployment.id,
            "lumni.cost_nano_usd": attempt.cost_nano_usd,
            **_asked_by(work),
        },
    )
    if attempt.first_chunk_ms:
        span.set_attribute("gen_ai.response.time_to_first_chunk", attempt.first_chunk_ms / 1000)
        span.add_event("gen_ai.first_chunk", timestamp=began_ns + int(attempt.first_chunk_ms * 1_000_000))
    if attempt.status_code:
        span.set_attribute("http.response.status_code", attempt.status_code)
    if attempt.error is not None:
        span.set_attribute("error.type", attempt.error.value)
        span.set_status(StatusCode.ERROR)
    if attempt.state is AttemptState.PARTIAL:
        span.set_attribute("lumni.partial", value=True)
    span.end(ended_ns)


def _asked_by(work: Work) -> dict[str, str]:
    """Who the request is of, and what its caller noted with it; what is empty is left out."""
    if not isinstance(work.origin, Origin):
        return {}
    context = work.origin.context
    known = {
        "lumni.request_id": context.request_id,
        "lumni.tenant": context.tenant,
        "lumni.key_id": context.key_id,
        "lumni.organization_id": context.organization_id,
        "lumni.plan": context.plan,
        "user.id": context.user_id,
        **{f"lumni.metadata.{name}": value for name, value in context.metadata.items()},
    }
    return {name: value for name, value in known.items() if value}
