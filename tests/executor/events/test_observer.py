"""What each attempt looks like from outside: metrics and a span."""

from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
from prometheus_client import REGISTRY

from services.chassis import telemetry
from tests.executor.service import deployments, executor
from tests.simulator import Simulator


async def test_every_attempt_is_measured_and_traced(
    simulator: Simulator, valkey: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(telemetry, "tracer", provider.get_tracer("test"))
    monkeypatch.setattr(telemetry._sampling, "by", TraceIdRatioBased(1))
    config = deployments(simulator.url, [("measured-bad", "openai/m-sim-500"), ("measured", "anthropic/m")])
    async with executor(tmp_path, config, valkey) as caller:
        await caller.ask("measured-bad", "measured", stream=True)

    spans = {
        span.attributes["lumni.deployment"]: span
        for span in exporter.get_finished_spans()
        if span.attributes and "lumni.deployment" in span.attributes
    }
    good, bad = spans["measured"], spans["measured-bad"]
    assert good.name == "chat public-measured"
    assert good.attributes is not None
    assert good.attributes["gen_ai.provider.name"] == "anthropic"
    assert good.attributes["gen_ai.usage.output_tokens"] == 16
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
