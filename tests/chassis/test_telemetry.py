"""Logs and spans, as others read them."""

import io
import json
import logging
import sys
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from services.chassis import telemetry
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
    exporter = telemetry.CountingExporter(Scripted([good, bad, bad, bad, good]), "nowhere")
    spans = [ReadableSpan("a"), ReadableSpan("b")]

    with caplog.at_level(logging.INFO):
        for _ in range(5):
            exporter.export(spans)

    assert telemetry.DROPPED_SPANS.labels("nowhere")._value.get() == 6
    assert [
        "spans for nowhere are being dropped",
        "spans for nowhere are delivered again",
    ] == [r.message for r in caplog.records]


def test_a_traceparent_from_elsewhere_is_continued() -> None:
    parent = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    with telemetry.tracer.start_as_current_span("inner", telemetry.remote(parent)):
        assert telemetry.trace_id() == "a" * 32


@pytest.mark.parametrize("share", ["-0.1", "1.5", "nan"])
def test_a_share_of_traces_that_is_none_is_refused(share: str) -> None:
    with pytest.raises(Mistakes, match="OTEL_TRACES_SAMPLER_ARG: expected a number from 0 to 1"):
        from_environ(telemetry.Settings, {"OTEL_TRACES_SAMPLER_ARG": share})


def test_services_of_one_process_have_spans_and_log_lines_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = InMemorySpanExporter()
    monkeypatch.setattr(telemetry, "_exporters", lambda _: [("memory", kept)])
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        with telemetry.running("gateway", telemetry.Settings()):
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
