"""Where spans go: to the collector that `OTEL_*` names, by OTLP over HTTP or gRPC, and to Portkey when its key is set.

No request waits for them. What waits to be sent is bounded, and what cannot be sent, or finds no room, is counted.
"""

import logging
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import prometheus_client
from opentelemetry.sdk.trace import ReadableSpan, SynchronousMultiSpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from services.chassis.config import Secret, variable
from services.chassis.outage import Outage
from services.chassis.portkey_logs import PortkeyLogExporter, is_attempt

log = logging.getLogger(__name__)

# Spans of one destination that wait to be delivered or are being delivered: some 4 MiB, or the spans of 170 requests.
MOST_WAITING = 2048
# Spans of one delivery, and milliseconds until a smaller number is delivered.
BATCH = 512
DELAY_MS = 1000
# The deadline of one delivery with its retries, in seconds.
DELIVERY_S = 5
# How long the spans that are left may take when the process ends, in seconds.
END_S = 2.0

PROTOCOLS = ("http/protobuf", "grpc")
# How the names of OpenTelemetry's own variables for the collector begin.
COLLECTORS = "OTEL_EXPORTER_OTLP_"
PORTKEY_FORMATS = ("otlp", "logs")

DROPPED_SPANS = prometheus_client.Counter(
    "lumni_telemetry_dropped_spans",
    "Spans that an exporter could not deliver, or that found no room while it was slow.",
    ["destination"],
)


@dataclass(frozen=True)
class Settings:
    """Where spans go, and how many."""

    otlp: str = variable(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "",
        "address of an OTLP collector: the base address for HTTP, http://host:4317 for gRPC",
    )
    otlp_traces: str = variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "", "its address for traces, in full")
    protocol: str = variable(
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        "http/protobuf",
        "how the collector is spoken to: http/protobuf or grpc",
    )
    sampled: float = variable(
        "OTEL_TRACES_SAMPLER_ARG", 1.0, "share of traces that are recorded, 0 to 1, chosen by the trace's id"
    )
    portkey_key: Secret = variable("PORTKEY_API_KEY", Secret(""), "sends spans to Portkey too")
    portkey_format: str = variable(
        "LUMNI_PORTKEY_FORMAT",
        "otlp",
        "what Portkey gets: otlp (all spans) or logs (one entry of its logs for each attempt)",
    )
    portkey_otlp: str = variable(
        "LUMNI_PORTKEY_OTLP", "https://api.portkey.ai/v1/otel/v1/traces", "Portkey's address for traces"
    )
    portkey_logs: str = variable(
        "LUMNI_PORTKEY_LOGS", "https://api.portkey.ai/v1/logs", "Portkey's address for entries of its logs"
    )

    def __post_init__(self) -> None:
        if not 0 <= self.sampled <= 1:
            raise ValueError("OTEL_TRACES_SAMPLER_ARG: expected a number from 0 to 1")
        if self.protocol not in PROTOCOLS:
            raise ValueError(f"OTEL_EXPORTER_OTLP_PROTOCOL: expected {' or '.join(PROTOCOLS)}")
        if self.portkey_format not in PORTKEY_FORMATS:
            raise ValueError(f"LUMNI_PORTKEY_FORMAT: expected {' or '.join(PORTKEY_FORMATS)}")


class CountingExporter(SpanExporter):
    """An exporter whose failures are counted always, and logged once for each outage."""

    def __init__(self, inner: SpanExporter, destination: str) -> None:
        self._inner = inner
        self._destination = destination
        self._outage = Outage(
            log, f"spans for {destination} are being dropped", f"spans for {destination} are delivered again"
        )

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Deliver, or count what could not be delivered."""
        try:
            result = self._inner.export(spans)
        except Exception:
            # Whatever a span holds, those after it are delivered.
            if not self._outage.active:
                log.exception("an exporter failed")
            result = SpanExportResult.FAILURE
        if result is SpanExportResult.SUCCESS:
            self._outage.end()
        else:
            self._outage.begin()
            DROPPED_SPANS.labels(self._destination).inc(len(spans))
        return result

    def shutdown(self) -> None:
        """Close the connection."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Wait for the inner exporter; nothing is kept here."""
        return self._inner.force_flush(timeout_millis)


class BoundedBatches(BatchSpanProcessor):
    """Delivers spans in batches, from a thread of its own; counts those for which there is no room.

    OpenTelemetry's queue is bounded too, but what it drops is only logged.
    """

    def __init__(self, exporter: SpanExporter, destination: str) -> None:
        self._attempts_only = isinstance(exporter, PortkeyLogExporter)
        self._room = threading.Semaphore(MOST_WAITING)
        self._destination = destination
        counting = CountingExporter(exporter, destination)
        super().__init__(_Releasing(counting, self._room), MOST_WAITING, DELAY_MS, BATCH)

    def on_end(self, span: ReadableSpan) -> None:
        """Take a span that has ended; returns at once."""
        if span.context is None or not span.context.trace_flags.sampled:
            return
        if self._attempts_only and not is_attempt(span):
            return
        if self._room.acquire(blocking=False):
            super().on_end(span)
        else:
            DROPPED_SPANS.labels(self._destination).inc()

    def shutdown(self) -> None:
        """Deliver what is left, then close the connection."""
        super().shutdown()  # type: ignore[no-untyped-call]


class _Releasing(SpanExporter):
    """Makes room for as many spans as were exported, whatever became of them."""

    def __init__(self, inner: SpanExporter, room: threading.Semaphore) -> None:
        self._inner = inner
        self._room = room

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            return self._inner.export(spans)
        finally:
            self._room.release(len(spans))

    def shutdown(self) -> None:
        self._inner.shutdown()


@contextmanager
def exporting(exporters: Sequence[tuple[str, SpanExporter]]) -> Iterator[SynchronousMultiSpanProcessor]:
    """Deliver the spans that the processor gets until the block ends, then what is left within `END_S`."""
    spans = SynchronousMultiSpanProcessor()  # type: ignore[no-untyped-call]
    for destination, exporter in exporters:
        spans.add_span_processor(BoundedBatches(exporter, destination))
    try:
        yield spans
    finally:
        # In a thread, for no timeout of OpenTelemetry's bounds it: a frozen collector would hold the process.
        ending = threading.Thread(target=spans.shutdown, name="last spans", daemon=True)
        ending.start()
        ending.join(END_S)


def exporters(settings: Settings) -> Iterator[tuple[str, SpanExporter]]:
    """The destinations that are set, by name."""
    if settings.otlp or settings.otlp_traces:
        yield "otlp", _otlp(settings)
    if settings.portkey_key:
        headers = {"x-portkey-api-key": settings.portkey_key.reveal()}
        if settings.portkey_format == "logs":
            yield "portkey", PortkeyLogExporter(settings.portkey_logs, headers, timeout_s=DELIVERY_S)
        else:
            with _without_the_collectors_settings():
                exporter = _by_http(settings.portkey_otlp, headers)
            yield "portkey", exporter


@contextmanager
def _without_the_collectors_settings() -> Iterator[None]:
    """Hide what the environment says of the collector: its headers, with credentials, and its certificates.

    OpenTelemetry reads them into every exporter.
    """
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith(COLLECTORS)}
    try:
        yield
    finally:
        os.environ.update(hidden)


def _otlp(settings: Settings) -> SpanExporter:
    if settings.protocol == "grpc":
        # 20 ms and some MiB, for those who want it alone.
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as ByGrpc

        return ByGrpc(endpoint=settings.otlp_traces or settings.otlp, timeout=DELIVERY_S)
    return _by_http(settings.otlp_traces or settings.otlp.rstrip("/") + "/v1/traces")


def _by_http(address: str, headers: dict[str, str] | None = None) -> SpanExporter:
    # 60 ms and 7 MiB, and only those who send spans pay for it.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(address, headers=headers, timeout=DELIVERY_S)
