"""Every error in OpenAI's shape, with all four keys."""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from services.chassis import errors, status
from services.gateway.rest.json_answers import JsonResponse
from services.gateway.rest.requests import CallerLeft

# nginx's status for a caller who left.
CALLER_LEFT = 499
WRONG_METHOD = "this route takes another method"


def refusal(fault: errors.Fault) -> Response:
    """The answer that says what went wrong."""
    code, headers, body = status.to_http(fault)
    return JsonResponse(body, code, headers)


async def _on_fault(_: Request, error: Exception) -> Response:
    assert isinstance(error, errors.Fault)
    return refusal(error)


async def _on_caller_left(_: Request, __: Exception) -> Response:
    return Response(status_code=CALLER_LEFT)


def http_error(code: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """The answer to what HTTP itself finds wrong, such as an unknown path."""
    kind = "invalid_request_error" if code < 500 else "server_error"
    body = {"error": {"message": message, "type": kind, "param": None, "code": None}}
    return JsonResponse(body, code, headers)


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = str(error.detail)
    if error.status_code == 404:
        message = _no_route(request)
    elif error.status_code == 405:
        message = WRONG_METHOD
    # The headers are such as Allow.
    return http_error(error.status_code, message, error.headers)


def _no_route(request: Request) -> str:
    """What a path that nobody serves is answered: what there is instead."""
    paths: Mapping[str, Mapping[str, Any]] = request.app.openapi()["paths"]
    routes = (
        f"{method.upper()} {path}"
        for path, methods in paths.items()
        if path.startswith("/v1/")
        for method in methods
    )
    return (
        f"no route {request.method} {request.url.path[:200]}; there are {', '.join(routes)}; "
        "GET /openapi.json describes all"
    )


async def _on_validation(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
    return refusal(errors.Invalid(f"{name}: {first['msg']}", param=name or None))


async def _on_mistake(_: Request, __: Exception) -> Response:
    """What went wrong is in the log; the caller learns nothing of our insides."""
    return refusal(errors.Internal("internal error"))


HANDLERS: Mapping[int | type[Exception], Callable[[Request, Any], Coroutine[Any, Any, Response]]] = {
    errors.Fault: _on_fault,
    CallerLeft: _on_caller_left,
    HTTPException: _on_http,
    RequestValidationError: _on_validation,
    Exception: _on_mistake,
}
