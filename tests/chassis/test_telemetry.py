"""Logs and spans, as others read them."""

import io
import json
import logging
import sys
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

from services.chassis import span_export, telemetry
from services.chassis.config import Mistakes, from_environ


def test_a_log_line_is_json_with_the_requests_id_and_trace() -> None:
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(telemetry.JsonLines("tested"))
    logger = logging.Logger("some.module")
    logger.addHandler(handler)
    token = telemetry.request_id.set("r-1")
    try:
        logger.warning("%d things", 3, extra={"code": "OK"})
        try:
            raise ValueError("odd")
        except ValueError:
            logger.exception("it failed")
    finally:
        telemetry.request_id.reset(token)

    first, second = (json.loads(line) for line in out.getvalue().splitlines())
    assert ("WARNING", "tested", "some.module", "3 things", "r-1", "OK") == (
        first["level"],
        first["service"],
        first["logger"],
        first["message"],
        first["request_id"],
        first["code"],
    )
    assert "ValueError: odd" in second["exception"]


class Scripted(SpanExporter):
    """Succeeds or fails as scripted."""

    def __init__(self, results: list[SpanExportResult]) -> None:
        self.results = results

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self.results.pop(0)


def test_lost_spans_are_counted_and_an_outage_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    good, bad = SpanExportResult.SUCCESS, SpanExportResult.FAILURE
    exporter = span_export.CountingExporter(Scripted([good, bad, bad, bad, good]), "nowhere")
    spans = [ReadableSpan("a"), ReadableSpan("b")]

    with caplog.at_level(logging.INFO):
        for _ in range(5):
            exporter.export(spans)

    assert span_export.DROPPED_SPANS.labels("nowhere")._value.get() == 6
    assert [
        "spans for nowhere are being dropped",
        "spans for nowhere are delivered again",
    ] == [r.message for r in caplog.records]


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """What a process that records half of all traces would deliver."""
    exporter = InMemorySpanExporter()
    sampler = TraceIdRatioBased(0.5)
    provider = TracerProvider(sampler=sampler)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(telemetry, "tracer", provider.get_tracer("test"))
    monkeypatch.setattr(telemetry._sampling, "by", sampler)
    return exporter


@pytest.mark.parametrize("flags", ["00", "01"])
@pytest.mark.parametrize(("trace_id", "recorded"), [("1" * 32, True), ("f" * 32, False)])
def test_a_trace_from_elsewhere_is_continued_and_recorded_by_its_id_alone(
    spans: InMemorySpanExporter, trace_id: str, recorded: bool, flags: str
) -> None:
    with telemetry.server_span("inner", f"00-{trace_id}-{'b' * 16}-{flags}"):
        assert telemetry.trace_id() == trace_id
        assert telemetry.traceparent().split("-")[1] == trace_id
        assert telemetry.recording() == recorded

    assert [span.name for span in spans.get_finished_spans()] == ["inner"] * recorded
    assert telemetry.trace_id() == ""


def test_where_nothing_is_recorded_each_request_has_a_trace_id_all_the_same() -> None:
    found = set()
    for _ in range(3):
        with telemetry.server_span("request", ""):
            found.add(telemetry.trace_id())
            assert not telemetry.recording()

    assert len(found - {""}) == 3


@pytest.mark.parametrize("share", ["-0.1", "1.5", "nan"])
def test_a_share_of_traces_that_is_none_is_refused(share: str) -> None:
    with pytest.raises(Mistakes, match="OTEL_TRACES_SAMPLER_ARG: expected a number from 0 to 1"):
        from_environ(telemetry.Settings, {"OTEL_TRACES_SAMPLER_ARG": share})


def test_services_of_one_process_have_spans_and_log_lines_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = InMemorySpanExporter()
    monkeypatch.setattr(span_export, "exporters", lambda _: [("memory", kept)])
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        with telemetry.running("gateway", from_environ(telemetry.Settings, {})):
            with telemetry.acting_as("selector"), telemetry.tracer.start_as_current_span("inner"):
                logging.getLogger("some").info("inside")
            with telemetry.tracer.start_as_current_span("outer"):
                logging.getLogger("some").info("outside")
    finally:
        root.handlers[:], root.level = before

    assert {"inner": "lumni-selector", "outer": "lumni-gateway"} == {
        span.name: span.resource.attributes["service.name"] for span in kept.get_finished_spans()
    }
    assert [("selector", "inside"), ("gateway", "outside")] == [
        (line["service"], line["message"]) for line in map(json.loads, out.getvalue().splitlines())
    ]
