"""What each attempt looks like from outside: metrics and a span."""

from pathlib import Path

from opentelemetry import trace
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import REGISTRY

from tests.executor.service import deployments, executor
from tests.simulator import Simulator


async def test_every_attempt_is_measured_and_traced(
    simulator: Simulator, valkey: str, tmp_path: Path, spans: InMemorySpanExporter
) -> None:
    config = deployments(
        simulator.url, [("measured-bad", "openai/m-sim-500"), ("measured", "anthropic/m-sim-write-3")]
    )
    async with executor(tmp_path, config, valkey) as caller:
        await caller.ask("measured-bad", "measured", stream=True)

    made = {
        span.attributes["lumni.deployment"]: span
        for span in spans.get_finished_spans()
        if span.attributes and "lumni.deployment" in span.attributes
    }
    good, bad = made["measured"], made["measured-bad"]
    assert good.name == "chat public-measured"
    assert good.attributes is not None
    assert good.attributes["gen_ai.provider.name"] == "anthropic"
    assert good.attributes["gen_ai.usage.output_tokens"] == 16
    assert good.attributes["gen_ai.usage.cache_creation.input_tokens"] == 3
    assert bad.attributes is not None
    assert bad.attributes["error.type"] == "server_error"
    assert bad.status.status_code is trace.StatusCode.ERROR
    assert REGISTRY.get_sample_value("lumni_attempts_total", {"deployment": "measured", "error": ""}) == 1
    assert (
        REGISTRY.get_sample_value(
            "lumni_attempts_total", {"deployment": "measured-bad", "error": "server_error"}
        )
        == 1
    )
    assert (
        REGISTRY.get_sample_value("lumni_tokens_total", {"deployment": "measured", "kind": "completion"})
        == 16
    )
