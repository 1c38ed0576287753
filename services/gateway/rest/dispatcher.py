"""The routes that callers send their requests to, served without a framework: what costs each request counts here.

A route's handler gets an `Exchange`, whose caller was let in. It raises faults, which are answered in the format of the
route's API. All other paths are FastAPI's.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from starlette.routing import compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from services.chassis import errors, status
from services.gateway.rest.api_format import OPENAI, ApiFormat
from services.gateway.rest.early_checks import EarlyChecks
from services.gateway.rest.error_handlers import CALLER_LEFT, WRONG_METHOD, http_error
from services.gateway.rest.exchange import Exchange
from services.gateway.rest.requests import CallerLeft, bearer
from services.gateway.rest.responses import send_json

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
    """Serves its routes, and leaves all other paths to another application."""

    def __init__(self, app: ASGIApp, routes: Sequence[Route], checks: EarlyChecks) -> None:
        self._app = app
        self._checks = checks
        # By path, then by method.
        self._paths: dict[str, dict[str, Route]] = {}
        for route in routes:
            self._paths.setdefault(route.path, {})[route.method] = route
        # Only paths with parameters need to be searched.
        self._patterns = [(compile_path(path)[0], path) for path in self._paths if "{" in path]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        path, parameters = self._find(scope["path"])
        methods = self._paths.get(path)
        if methods is None:
            await self._app(scope, receive, send)
            return
        route = methods.get(scope["method"])
        if route is None:
            # Any of them, for its path is in metrics and logs.
            scope["route"] = next(iter(methods.values()))
            allowed = {"allow": ", ".join(methods)}
            await http_error(405, WRONG_METHOD, allowed)(scope, receive, send)
            return
        scope["route"] = route
        exchange: Exchange | None = None
        try:
            async with self._checks.passed(bearer(scope)) as (caller, attempt):
                exchange = Exchange(scope, receive, send, caller, attempt, route.form, parameters)
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
        return self._paths.get(self._find(scope["path"])[0], {}).get(scope["method"])

    def _find(self, path: str) -> tuple[str, Mapping[str, str]]:
        """The path of the routes that serve one, if any do, and its parameters."""
        if path not in self._paths:
            for pattern, known in self._patterns:
                if found := pattern.match(path):
                    return known, found.groupdict()
        return path, {}


async def _refuse(send: Send, route: Route, error: Exception) -> None:
    """Say what went wrong; of our own mistakes, which are in the log, no more than that."""
    if isinstance(error, CallerLeft):
        await send_json(send, b"", CALLER_LEFT)
        return
    fault = error if isinstance(error, errors.Fault) else errors.Internal("internal error")
    code, headers = status.to_http_head(fault)
    await send_json(send, route.form.error(fault), code, headers)
