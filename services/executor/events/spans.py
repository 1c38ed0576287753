"""Each attempt as a span, in the words of OpenTelemetry's GenAI conventions.

The constants are ours: the published Python ones are deprecated. Portkey still reads the older `gen_ai.system`.
"""

import time

from opentelemetry.trace import SpanKind, StatusCode

from services.chassis import telemetry
from services.executor.attempts.model import Attempt, AttemptState
from services.executor.engines.base import Operation

# The conventions' names of providers, where they differ from LiteLLM's.
PROVIDERS = {
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "vertex_ai": "gcp.vertex_ai",
    "xai": "x_ai",
}


def record(operation: Operation, attempt: Attempt) -> None:
    """Book an attempt that has ended as a span below the current one."""
    provider = PROVIDERS.get(attempt.deployment.provider, attempt.deployment.provider)
    ended_ns = time.time_ns()
    span = telemetry.tracer.start_span(
        f"{operation.value} {attempt.deployment.model}",
        kind=SpanKind.CLIENT,
        start_time=ended_ns - int(attempt.duration_ms * 1_000_000),
        attributes={
            "gen_ai.operation.name": operation.value,
            "gen_ai.provider.name": provider,
            "gen_ai.system": provider,
            "gen_ai.request.model": attempt.deployment.model,
            "gen_ai.response.model": attempt.deployment.litellm_model,
            "gen_ai.usage.input_tokens": attempt.usage.prompt_tokens,
            "gen_ai.usage.output_tokens": attempt.usage.completion_tokens,
            "lumni.attempt": attempt.id,
            "lumni.deployment": attempt.deployment.id,
            "lumni.cost_nano_usd": attempt.cost_nano_usd,
        },
    )
    if attempt.first_chunk_ms:
        span.set_attribute("gen_ai.response.time_to_first_chunk", attempt.first_chunk_ms / 1000)
    if attempt.error is not None:
        span.set_attribute("error.type", attempt.error.value)
        span.set_status(StatusCode.ERROR)
    if attempt.state is AttemptState.PARTIAL:
        span.set_attribute("lumni.partial", value=True)
    span.end(ended_ns)
