"""Spans under the name of the service whose code makes them; a process may hold several services."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from opentelemetry import trace

# The service whose code runs, where it is not the one that gave the process its name.
acting: ContextVar[str] = ContextVar("acting", default="")


class ServiceTracer(trace.Tracer):
    """Hands each span to the tracer of the service that is acting."""

    def __init__(self) -> None:
        # OpenTelemetry's own until a process says what it is, and in tests.
        self._tracers: dict[str, trace.Tracer] = {"": trace.get_tracer("lumni")}
        self._provider: Callable[[str], trace.TracerProvider] | None = None

    @contextmanager
    def providing(self, service: str, provider: Callable[[str], trace.TracerProvider]) -> Iterator[None]:
        """Until the block ends, make spans as `service`; `provider` makes the provider of a service by its name."""
        before, self._provider = self._tracers, provider
        self._tracers = {"": provider(service).get_tracer("lumni")}
        try:
            yield
        finally:
            self._tracers, self._provider = before, None

    @contextmanager
    def acting_as(self, service: str) -> Iterator[None]:
        """Act as a service that shares the process; tasks and servers that begin in the block go on doing so."""
        if self._provider is not None and service not in self._tracers:
            self._tracers[service] = self._provider(service).get_tracer("lumni")
        token = acting.set(service)
        try:
            yield
        finally:
            acting.reset(token)

    def start_span(self, *args: Any, **kwargs: Any) -> trace.Span:
        """As OpenTelemetry's."""
        return self._current().start_span(*args, **kwargs)

    def start_as_current_span(self, *args: Any, **kwargs: Any) -> Any:
        """As OpenTelemetry's."""
        return self._current().start_as_current_span(*args, **kwargs)

    def _current(self) -> trace.Tracer:
        return self._tracers.get(acting.get()) or self._tracers[""]
