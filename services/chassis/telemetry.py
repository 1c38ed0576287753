"""Logs, traces and metrics, the same in every service.

Logs are JSON lines with the request's id and trace id; where spans go is the business of `span_export`.
"""

import contextvars
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from typing import Any
from wsgiref.simple_server import WSGIServer

import orjson
import prometheus_client
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
from opentelemetry.trace import INVALID_SPAN, INVALID_SPAN_CONTEXT, Span, SpanContext, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from services.chassis import listening, measuring, span_export
from services.chassis.config import part, variable
from services.chassis.tracing import ServiceTracer, acting

log = logging.getLogger(__name__)

request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="")
_tracer = ServiceTracer()
tracer: trace.Tracer = _tracer
acting_as = _tracer.acting_as
_propagator = TraceContextTextMapPropagator()
# The current trace as a traceparent where it is not recorded, which most are: reading it from a span in OpenTelemetry's
# context takes ten times as long, and each request does so often.
_unrecorded: contextvars.ContextVar[str] = contextvars.ContextVar("unrecorded", default="")


class _Sampling:
    """Which traces this process records; none where they would go nowhere.

    By the trace's id alone, as in every service: the flags of a caller's traceparent would let it hide.
    """

    by = TraceIdRatioBased(0)

    @contextmanager
    def sampled(self, by: TraceIdRatioBased) -> Iterator[None]:
        """Record what a sampler says until the block ends."""
        before, self.by = self.by, by
        try:
            yield
        finally:
            self.by = before

    def may_record(self, trace_id: int) -> bool:
        """Whether a trace is recorded; one that has no id yet may be."""
        return trace_id & TraceIdRatioBased.TRACE_ID_LIMIT < self.by.bound


_sampling = _Sampling()
_ids = RandomIdGenerator()

# Attributes that every log record has; all others come from `extra`.
_RECORD = frozenset(vars(logging.makeLogRecord({})))
_STANDARD = _RECORD | {"message", "asctime", "taskName", "color_message"}


@dataclass(frozen=True)
class Settings:
    """Where logs, spans and metrics go."""

    log_level: str = variable("LUMNI_LOG_LEVEL", "INFO", "DEBUG, INFO, WARNING or ERROR")
    metrics_listen: str = variable(
        "LUMNI_METRICS_LISTEN", "", "host:port of the Prometheus endpoint; empty is none"
    )
    spans: span_export.Settings = part()

    def __post_init__(self) -> None:
        if self.log_level not in ("DEBUG", "INFO", "WARNING", "ERROR"):
            raise ValueError("LUMNI_LOG_LEVEL: expected DEBUG, INFO, WARNING or ERROR")


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, service, logger, message, ids, and whatever `extra` holds."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """Render a record; the request's and the trace's id come from the context it was logged in."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "service": acting.get() or self._service,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if ident := request_id.get():
            line["request_id"] = ident
        if trace_ident := trace_id():
            line["trace_id"] = trace_ident
        # What comes of `extra` comes after what every record has.
        further = islice(vars(record).items(), len(_RECORD), None)
        line.update({k: v for k, v in further if k not in _STANDARD})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


@contextmanager
def running(service: str, settings: Settings) -> Iterator[None]:
    """Log, trace and measure as `service` until the block ends; then deliver the remaining spans."""
    _log_as(service, settings.log_level)
    exporters = list(span_export.exporters(settings.spans))
    sampler = TraceIdRatioBased(settings.spans.sampled if exporters else 0)
    metrics = None
    if settings.metrics_listen:
        metrics = _metrics_at(settings.metrics_listen)
    try:
        with span_export.exporting(exporters) as spans:

            def provider(name: str) -> TracerProvider:
                return TracerProvider(
                    sampler=sampler,
                    resource=Resource.create({"service.name": f"lumni-{name}"}),
                    shutdown_on_exit=False,
                    active_span_processor=spans,
                )

            with _tracer.providing(service, provider), _sampling.sampled(sampler), measuring.sampling():
                yield
    finally:
        if metrics is not None:
            metrics.shutdown()
            metrics.server_close()


def _metrics_at(address: str) -> WSGIServer:
    """Show what is measured.

    Raises:
        Mistakes: the address cannot be bound.
    """
    host, _, port = address.rpartition(":")
    try:
        return prometheus_client.start_http_server(int(port), host, measuring.registry())[0]
    except (OSError, ValueError) as error:
        raise listening.mistake("LUMNI_METRICS_LISTEN", address, error) from error


def _log_as(service: str, level: str) -> None:
    # What no line shows is not found out for each: the place in the source, the thread and the process.
    logging._srcfile = None  # noqa: SLF001  (the way that logging's documentation names)
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(service))
    logging.basicConfig(handlers=[handler], level=level, force=True)
    # They log each lost batch with a traceback; the exporter of `span_export` logs the outage once.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    for chatty in ("httpx", "httpcore", "urllib3", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


@contextmanager
def server_span(
    name: str,
    parent: str,
    attributes: Mapping[str, AttributeValue] | None = None,
    *,
    start_time: int | None = None,
    recorded: bool = True,
) -> Iterator[Span]:
    """The current span while the block serves a request; where its trace is not recorded, the ids of the trace alone.

    Args:
        name: What is done.
        parent: The traceparent of who asked for it; empty begins a trace.
        attributes: Of the span.
        start_time: Nanoseconds since 1970; else now.
        recorded: Whether its trace may be recorded at all.
    """
    trace_ident, known = _known(parent)
    if not recorded or not _sampling.may_record(trace_ident):
        # What is recorded around it must not be taken for its own.
        outer = otel_context.attach(trace.set_span_in_context(INVALID_SPAN)) if recording() else None
        ids = _unrecorded.set(known or _begun())
        try:
            yield INVALID_SPAN
        finally:
            _unrecorded.reset(ids)
            if outer is not None:
                otel_context.detach(outer)
        return
    span = tracer.start_span(name, remote(parent), SpanKind.SERVER, attributes, start_time=start_time)
    outer, ids = otel_context.attach(trace.set_span_in_context(span)), _unrecorded.set("")
    try:
        yield span
    finally:
        _unrecorded.reset(ids)
        otel_context.detach(outer)
        span.end()


def recording() -> bool:
    """Whether the current trace is recorded; asked often, and mostly where none is."""
    return _sampling.by.bound > 0 and trace.get_current_span().is_recording()


def traceparent() -> str:
    """The current span as a W3C traceparent; empty outside of one."""
    return _unrecorded.get() or _as_traceparent(trace.get_current_span().get_span_context())


def _as_traceparent(span: SpanContext) -> str:
    if not span.is_valid:
        return ""
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"


def _begun() -> str:
    """The traceparent of a new trace that is not recorded."""
    return f"00-{_ids.generate_trace_id():032x}-{_ids.generate_span_id():016x}-00"


@lru_cache(maxsize=512)
def _known(parent: str) -> tuple[int, str]:
    """The trace's id of a traceparent from elsewhere, and what is passed on of it; 0 and nothing where it is none."""
    context = remote(parent)
    span = trace.get_current_span(context).get_span_context() if context else INVALID_SPAN_CONTEXT
    return span.trace_id, _as_traceparent(span)


def remote(parent: str) -> Any:
    """The OpenTelemetry context of a traceparent from elsewhere, which all calls for one request may bring."""
    return _propagator.extract({"traceparent": parent}) if parent else None


def trace_id() -> str:
    """The current trace's id in hexadecimal; empty outside of one."""
    if ids := _unrecorded.get():
        return ids.split("-")[1]
    span = trace.get_current_span().get_span_context()
    return trace.format_trace_id(span.trace_id) if span.is_valid else ""


def exemplar() -> dict[str, str] | None:
    """The current trace as an example of what is measured; None where it is not recorded, so cannot be looked at."""
    return {"trace_id": trace_id()} if recording() else None


def replica() -> str:
    """The name of this process among the replicas of its service."""
    return f"{os.uname().nodename}-{os.getpid()}"
