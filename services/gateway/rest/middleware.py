"""What every REST request gets: an id, a span, a log line and a metric."""

import logging
import time
from functools import cache
from urllib.parse import parse_qsl

import prometheus_client
from opentelemetry.trace import StatusCode
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.chassis import errors, telemetry
from services.gateway.requests.request_ids import request_id
from services.gateway.rest.error_handlers import CALLER_LEFT, refusal
from services.gateway.rest.requests import NOTES, header

log = logging.getLogger(__name__)

DURATION = prometheus_client.Histogram(
    "lumni_http_request_duration_seconds",
    "Time from a request's arrival to the end of its answer.",
    ["route", "status"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600),
)
IN_FLIGHT = prometheus_client.Gauge(
    "lumni_http_in_flight", "Requests under way.", multiprocess_mode="livesum"
)
# Asked every few seconds by whoever watches the gateway: no span, and a log line only where the answer is not good.
WATCHED = frozenset(("/health", "/health/live", "/health/ready", "/metrics"))
# The metric of each route, looked up once.
_duration = cache(DURATION.labels)


class RequestMiddleware:
    """Wraps the application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        telemetry.request_id.set(request_id())
        code = CALLER_LEFT
        watched = scope["path"] in WATCHED

        async def answer(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
                took = str(round((time.perf_counter() - began) * 1000))
                own = {
                    "x-request-id": telemetry.request_id.get(),
                    "x-lumni-trace-id": telemetry.trace_id(),
                    "openai-processing-ms": took,
                }
                present = {name for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *((k.encode(), v.encode()) for k, v in own.items() if v and k.encode() not in present),
                    *((name, value) for name, value in scope["headers"] if name in NOTES),
                ]
            await send(message)

        IN_FLIGHT.inc()
        with telemetry.server_span(
            scope["method"],
            header(scope, b"traceparent"),
            {"http.request.method": scope["method"]},
            recorded=not watched,
        ) as span:
            try:
                await (_refused(scope) or self._app)(scope, receive, answer)
            except Exception:
                # It was answered by the error handlers, if no answer had begun.
                log.exception("a request failed")
            finally:
                took = time.perf_counter() - began
                IN_FLIGHT.dec()
                # The route's pattern, never the path: scanners must not become labels.
                route = getattr(scope.get("route"), "path", "other")
                _duration(route, str(code)).observe(took, telemetry.exemplar())
                span.update_name(f"{scope['method']} {route}")
                span.set_attributes({"http.route": route, "http.response.status_code": code})
                if code >= 500:
                    span.set_attribute("error.type", str(code))
                    span.set_status(StatusCode.ERROR)
                log.log(
                    logging.DEBUG if watched and code < 400 else logging.INFO,
                    "%s %s %d",
                    scope["method"],
                    route,
                    code,
                    extra={"status": code, "duration_ms": round(took * 1000, 2)},
                )


def _refused(scope: Scope) -> ASGIApp | None:
    """The answer to an address that holds a NUL, which PostgreSQL takes in no text; none to any other."""
    if "\0" in scope["path"]:
        name = "path"
    elif b"%00" in scope["query_string"]:
        pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        name = next((name for name, value in pairs if "\0" in name + value), "query").replace("\0", "")[:64]
    else:
        return None
    return refusal(errors.Invalid(f"{name}: holds a NUL (%00); leave it out", param=name))
