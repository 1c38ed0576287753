"""The routes that callers send their requests to, served without a framework: what costs each request counts here.

A route's handler gets an `Exchange`, whose caller was let in. It raises faults, which are answered in the format of the
route's API. All other paths are FastAPI's.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from starlette.responses import Response
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.chassis import errors, status
from services.chassis.byte_budget import ByteBudget
from services.gateway.requests import request_metadata
from services.gateway.rest import client_dialects
from services.gateway.rest.api_format import OPENAI, ApiFormat
from services.gateway.rest.early_checks import EarlyChecks
from services.gateway.rest.error_handlers import CALLER_LEFT, WRONG_METHOD, http_error
from services.gateway.rest.exchange import Exchange
from services.gateway.rest.json_answers import send_json
from services.gateway.rest.requests import NOTES, CallerLeft, header

Handler: TypeAlias = Callable[[Exchange], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Route:
    """What is served where.

    Args:
        method: In capitals.
        path: With parameters as in FastAPI: `{name}` is one segment, `{name:path}` the rest.
        handle: Answers; raises faults.
        form: The conventions of its API.

    """

    method: str
    path: str
    handle: Handler
    form: ApiFormat = OPENAI


class Dispatcher:
    """Serves its routes, and leaves all other paths to another application.

    Args:
        app: The other application.
        routes: What is served here.
        checks: What a request must pass before its body is read.
        bodies: What the bodies of all requests under way may have together.

    """

    def __init__(
        self, app: ASGIApp, routes: Sequence[Route], checks: EarlyChecks, bodies: ByteBudget
    ) -> None:
        self._app = app
        self._checks = checks
        self._bodies = bodies
        # By path, then by method.
        self._paths: dict[str, dict[str, Route]] = {}
        for route in routes:
            self._paths.setdefault(route.path, {})[route.method] = route
        # Only paths with parameters need to be searched.
        self._patterns = [(compile_path(path)[0], path) for path in self._paths if "{" in path]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["method"] == "HEAD":
            await self._head(scope, receive, send)
            return
        found = self._find(scope["path"])
        if found is None:
            path = scope["path"].rstrip("/") or "/"
            await self._app(scope if path == scope["path"] else {**scope, "path": path}, receive, send)
            return
        route = found.methods.get(scope["method"])
        if route is None:
            # Any of them, for its path is in metrics and logs.
            scope["route"] = next(iter(found.methods.values()))
            await _other_method(found.methods, scope)(scope, receive, send)
            return
        scope["route"] = route
        exchange: Exchange | None = None
        try:
            async with self._checks.passed(client_dialects.key(scope)) as (caller, attempt):
                trace_id, metadata = (header(scope, name) for name in NOTES)
                request_metadata.noted.set(request_metadata.parse(trace_id, metadata))
                with self._bodies.lease(caller.tenant) as lease:
                    exchange = Exchange(
                        scope,
                        receive,
                        send,
                        caller,
                        attempt,
                        lease,
                        route.form,
                        found.parameters,
                        found.model,
                    )
                    await route.handle(exchange)
        except Exception as error:
            if exchange is None or not exchange.begun:
                await _refuse(send, route, error)
            elif isinstance(error, CallerLeft):
                return
            if not isinstance(error, errors.Fault | CallerLeft):
                raise

    def route(self, scope: Scope) -> Route | None:
        """The route that serves a request, if any does."""
        found = self._find(scope["path"])
        return found.methods.get(scope["method"]) if found else None

    def _find(self, path: str) -> "_Found | None":
        """The routes that a path means, if it means any."""
        if (methods := self._paths.get(path)) is not None:
            return _Found(methods)
        for meant, model in client_dialects.paths(path):
            if (methods := self._paths.get(meant)) is not None:
                return _Found(methods, model=model)
            for pattern, known in self._patterns:
                if matched := pattern.match(meant):
                    return _Found(self._paths[known], matched.groupdict(), model)
        return None

    async def _head(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request as if it wanted the body, which is not sent."""
        whole = {**scope, "method": "GET"}

        async def without_body(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        try:
            await self(whole, receive, without_body)
        finally:
            if "route" in whole:
                scope["route"] = whole["route"]


@dataclass(frozen=True, slots=True)
class _Found:
    """What a path means: the routes by method, the path's parameters, and the model that it names."""

    methods: Mapping[str, Route]
    parameters: Mapping[str, str] = field(default_factory=dict)
    model: str = ""


def _other_method(methods: Mapping[str, Route], scope: Scope) -> ASGIApp:
    """The answer to a method that no route of a path takes: which ones there are."""
    allowed = [*methods, *(("HEAD",) if "GET" in methods else ()), "OPTIONS"]
    headers = {"allow": ", ".join(allowed)}
    if scope["method"] == "OPTIONS":
        return Response(status_code=204, headers=headers)
    return http_error(405, WRONG_METHOD, headers)


async def _refuse(send: Send, route: Route, error: Exception) -> None:
    """Say what went wrong; of our own mistakes, which are in the log, no more than that."""
    if isinstance(error, CallerLeft):
        await send_json(send, b"", CALLER_LEFT)
        return
    fault = error if isinstance(error, errors.Fault) else errors.Internal("internal error")
    code, headers = status.to_http_head(fault)
    await send_json(send, route.form.error(fault), code, headers)
