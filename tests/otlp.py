"""A stand-in for an OTLP/HTTP collector and for Portkey's, which accepts both of Portkey's published paths."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

PORTKEY_PATHS = ("/v1/otel/v1/traces", "/v1/logs/otel/v1/traces")


class Collector:
    """Keeps every span it gets, with the name of the service that sent it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._changed = threading.Condition()
        self._spans: list[tuple[str, Span]] = []
        self.refused = 0
        # While down it hangs up on everybody without a word.
        self.down = False

    def add(self, request: ExportTraceServiceRequest) -> None:
        with self._changed:
            for resource in request.resource_spans:
                names = {a.key: a.value.string_value for a in resource.resource.attributes}
                for scope in resource.scope_spans:
                    self._spans += [(names["service.name"], span) for span in scope.spans]
            self._changed.notify_all()

    @property
    def count(self) -> int:
        """How many spans have come."""
        return len(self._spans)

    def trace(self, trace_id: str) -> list[tuple[str, Span]]:
        """The spans of a trace so far."""
        return [(name, span) for name, span in self._spans if span.trace_id.hex() == trace_id]

    def wait_for(self, trace_id: str, services: set[str], timeout_s: float = 60) -> list[tuple[str, Span]]:
        """Wait until each of the services has sent a span of the trace."""
        with self._changed:
            came = self._changed.wait_for(
                lambda: services <= {name for name, _ in self.trace(trace_id)}, timeout_s
            )
            assert came, (
                f"only {sorted({name for name, _ in self.trace(trace_id)})} of {sorted(services)} came"
            )
            return self.trace(trace_id)

    def wait_for_names(self, trace_id: str, names: set[str], timeout_s: float = 60) -> list[Span]:
        """Wait until the trace has a span of each name."""
        with self._changed:
            came = self._changed.wait_for(
                lambda: names <= {span.name for _, span in self.trace(trace_id)}, timeout_s
            )
            spans = [span for _, span in self.trace(trace_id)]
            assert came, f"missing: {sorted(names - {span.name for span in spans})}"
            return spans


@contextmanager
def collecting(key: str = "") -> Iterator[Collector]:
    """Run one; with a key it is Portkey's, and refuses whoever does not bring it."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if collector.down:
                self.close_connection = True
                return
            known = PORTKEY_PATHS if key else ("/v1/traces",)
            if self.path not in known or (key and self.headers.get("x-portkey-api-key") != key):
                collector.refused += 1
                self.send_response(401)
                self.end_headers()
                return
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            collector.add(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.end_headers()
            self.wfile.write(ExportTraceServiceResponse().SerializeToString())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector = Collector(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
