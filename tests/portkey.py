"""A stand-in for Portkey: its OTLP address in both published spellings, its logs API, feedback and prompts, with faults.

What it says in errors is not Portkey's, for that is not published; tests look at the status alone.
"""

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.otlp import PORTKEY_PATHS, Collector
from tests.portkey_prompts import PromptApi


@dataclass
class Portkey:
    """What arrived, and how it misbehaves."""

    address: str
    key: str
    # What it answers instead, such as 500 or 429; 0 is nothing instead.
    fault: int = 0
    # While it is not set, no request is answered.
    answers: threading.Event = field(default_factory=threading.Event)
    # Requests of a wrong key or to an unknown path.
    refused: int = 0
    # Requests with the right key, answered or not.
    asked: int = 0
    # Of those, their headers.
    headers: list[dict[str, str]] = field(default_factory=list)
    logs: list[dict[str, Any]] = field(default_factory=list)
    feedback: list[dict[str, Any]] = field(default_factory=list)
    prompts: PromptApi = field(default_factory=PromptApi)
    spans: Collector = field(init=False)

    def __post_init__(self) -> None:
        self.answers.set()
        self.spans = Collector(self.address)
        self._changed = threading.Condition()

    def note(self, into: list[dict[str, Any]], found: Any) -> int:
        """Keep one object or a list of them; how many there were."""
        several = found if isinstance(found, list) else [found]
        with self._changed:
            into += several
            self._changed.notify_all()
        return len(several)

    def wait_for_logs(self, count: int, timeout_s: float = 60) -> list[dict[str, Any]]:
        """Wait until so many entries have come."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.logs) >= count, timeout_s), self.logs
            return list(self.logs)

    def wait_for_attempts(self, trace_id: str, count: int, timeout_s: float = 60) -> list[dict[str, Any]]:
        """Wait until so many entries of a trace have come."""

        def mine() -> list[dict[str, Any]]:
            return [one for one in self.logs if one["metadata"].get("traceId") == trace_id]

        with self._changed:
            assert self._changed.wait_for(lambda: len(mine()) >= count, timeout_s), self.logs
            return mine()

    def wait_for_feedback(self, trace_id: str, timeout_s: float = 60) -> dict[str, Any]:
        """Wait for the first feedback on a trace."""

        def mine() -> list[dict[str, Any]]:
            return [one for one in self.feedback if one["trace_id"] == trace_id]

        with self._changed:
            assert self._changed.wait_for(lambda: bool(mine()), timeout_s), self.feedback
            return mine()[0]


@contextmanager
def serving(key: str) -> Iterator[Portkey]:
    """Run one that knows one key."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.do_POST()

        def do_PUT(self) -> None:
            self.do_POST()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            if self.headers.get("x-portkey-api-key") != key:
                portkey.refused += 1
                self._answer(401, {"success": False})
                return
            portkey.asked += 1
            portkey.headers.append(dict(self.headers.items()))
            portkey.answers.wait()
            if portkey.fault:
                self._answer(portkey.fault, {"success": False})
            elif self.path in PORTKEY_PATHS:
                portkey.spans.add(ExportTraceServiceRequest.FromString(body))
                self._send(200, "application/x-protobuf", ExportTraceServiceResponse().SerializeToString())
            elif self.path == "/v1/logs":
                self._log(json.loads(body))
            elif self.path == "/v1/feedback":
                self._feedback(json.loads(body))
            elif found := portkey.prompts.answer(self.command, self.path, body):
                self._answer(*found)
            else:
                portkey.refused += 1
                self._answer(404, {"success": False})

        def _log(self, found: Any) -> None:
            """What the published schema requires of an entry; the SDK's own exporter leaves the url out."""
            entries = found if isinstance(found, list) else [found]
            if all("body" in one["request"] and "body" in one["response"] for one in entries):
                portkey.note(portkey.logs, entries)
                self._answer(200, {"status": "success"})
            else:
                self._answer(400, {"success": False})

        def _feedback(self, found: Any) -> None:
            entries = found if isinstance(found, list) else [found]
            good = all(
                isinstance(one.get("trace_id"), str)
                and isinstance(one.get("value"), int)
                and -10 <= one["value"] <= 10
                and 0 <= one.get("weight", 1) <= 1
                for one in entries
            )
            if not good:
                self._answer(400, {"success": False})
                return
            count = portkey.note(portkey.feedback, entries)
            ids = [str(uuid4()) for _ in range(count)]
            self._answer(200, {"status": "success", "message": "saved", "feedback_ids": ids})

        def _answer(self, code: int, body: Any) -> None:
            self._send(code, "application/json", json.dumps(body).encode())

        def _send(self, code: int, kind: str, body: bytes) -> None:
            self.send_response(code)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.send_header("x-portkey-trace-id", self.headers.get("x-portkey-trace-id", ""))
            self.send_header("x-portkey-request-id", str(uuid4()))
            if code == 429:
                self.send_header("retry-after", "1")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    portkey = Portkey(f"http://127.0.0.1:{server.server_port}", key)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield portkey
    finally:
        portkey.answers.set()
        server.shutdown()
        thread.join()
        server.server_close()
