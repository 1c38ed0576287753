"""Refusals of callers who are known to be over a limit, ahead of everything else that a request gets.

Whoever sends more than its share sends thousands of requests that are refused, so a refusal must cost little: no body
is read, no span is made, and one log line says how many there were in a second. Whatever is not sure goes on.
"""

import asyncio
import logging
import time
from collections import Counter

from starlette.types import ASGIApp, Receive, Scope, Send

from services.chassis import errors, status
from services.gateway.requests.request_ids import request_id
from services.gateway.rest import client_dialects
from services.gateway.rest.dispatcher import Dispatcher, Route
from services.gateway.rest.early_checks import EarlyChecks
from services.gateway.rest.json_answers import json_head
from services.gateway.rest.middleware import DURATION

log = logging.getLogger(__name__)

# Seconds between two log lines.
EVERY_S = 1.0
# Tenants that get a log line of their own in that time; the others share one.
NAMED = 100
OTHERS = "others"


class EarlyRefusals:
    """Wraps the application with all its middleware."""

    def __init__(self, app: ASGIApp, dispatcher: Dispatcher, checks: EarlyChecks) -> None:
        self._app = app
        self._dispatcher = dispatcher
        self._checks = checks
        self._log = _RefusalLog()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse one request, or pass it on."""
        began = time.perf_counter()
        route = self._dispatcher.route(scope)
        refused = await self._checks.refusal(_key(scope)) if route else None
        if route is None or refused is None:
            await self._app(scope, receive, send)
            return
        caller, fault = refused
        code, headers, body = _rendered(route, fault)
        await send(
            {
                "type": "http.response.start",
                "status": code,
                "headers": [*headers, (b"x-request-id", request_id().encode())],
            }
        )
        await send({"type": "http.response.body", "body": body})
        DURATION.labels(route.path, str(code)).observe(time.perf_counter() - began)
        self._log.add(caller.tenant)


def _key(scope: Scope) -> str:
    """The key that a request shows; empty where other layers have to look at it, such as CORS at a page's."""
    if any(name == b"origin" for name, _ in scope["headers"]):
        return ""
    try:
        return client_dialects.key(scope)
    except errors.Invalid:
        return ""


def _rendered(route: Route, fault: errors.Fault) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    body = route.form.error(fault)
    code, headers = status.to_http_head(fault)
    return code, json_head(body, headers), body


class _RefusalLog:
    """Counts refusals by tenant, and logs the counts at most once in `EVERY_S`."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, tenant: str) -> None:
        """Count one."""
        if not self._counts:
            asyncio.get_running_loop().call_later(EVERY_S, self._write)
        self._counts[tenant if tenant in self._counts or len(self._counts) < NAMED else OTHERS] += 1

    def _write(self) -> None:
        for tenant, count in self._counts.items():
            log.info("refused early", extra={"tenant": tenant, "requests": count})
        self._counts.clear()
