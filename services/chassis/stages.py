"""The stages of a request's work, as spans below the one that serves it; none where its trace is not recorded."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.trace import INVALID_SPAN, Span, StatusCode
from opentelemetry.util.types import AttributeValue

from services.chassis import errors, telemetry


@contextmanager
def stage(name: str) -> Iterator[Span]:
    """The current span while a stage is under way; a fault that ends the block is its error."""
    if not telemetry.recording():
        yield INVALID_SPAN
        return
    with telemetry.tracer.start_as_current_span(
        name, record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield span
        except errors.Fault as fault:
            fail(span, fault.reason)
            raise


def begin(name: str) -> Span:
    """A stage that ends in the background, long after the request perhaps; whoever keeps the span ends it."""
    return telemetry.tracer.start_span(name) if telemetry.recording() else INVALID_SPAN


def add_past(name: str, began_ns: int, ended_ns: int) -> None:
    """Add a stage that was over before the request had a span; nanoseconds since 1970."""
    if telemetry.recording():
        telemetry.tracer.start_span(name, start_time=began_ns).end(ended_ns)


def fail(span: Span, error: str) -> None:
    """Mark a span as failed, by the name of a class of errors; a message could hold what a caller wrote."""
    span.set_attribute("error.type", error)
    span.set_status(StatusCode.ERROR)


def describe(attributes: Mapping[str, AttributeValue | None]) -> None:
    """Add to the current span what is known; empty texts and None are not."""
    trace.get_current_span().set_attributes(
        {name: value for name, value in attributes.items() if value is not None and value != ""}
    )
