"""The REST application: its routes, its error answers, and the middleware around them."""

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, FastAPI, Response
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from services.chassis import errors
from services.gateway.rest import openapi
from services.gateway.rest.error_handlers import HANDLERS, refusal
from services.gateway.rest.json_answers import JsonResponse
from services.gateway.rest.middleware import RequestMiddleware

# Every method that some route takes.
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
# What a browser reads of a refusal to a page of another origin.
CORS_HEADERS = ("access-control-allow-origin", "vary")


class _Cors(CORSMiddleware):
    """Starlette's, with its refusals in OpenAI's shape."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """The answer to what a browser asks first."""
        answer = super().preflight_response(request_headers)
        if answer.status_code < 400:
            return answer
        refused = refusal(errors.Invalid(bytes(answer.body).decode(), reason="CORS_NOT_ALLOWED"))
        refused.headers.update(
            {name: answer.headers[name] for name in answer.headers if name in CORS_HEADERS}
        )
        return refused


class _Application(FastAPI):
    """FastAPI, which describes the routes of the dispatcher too."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document of all routes."""
        if self.openapi_schema is None:
            self.openapi_schema = openapi.with_inference(super().openapi())
        return self.openapi_schema


def create(routers: Sequence[APIRouter]) -> ASGIApp:
    """Put the routers of FastAPI together."""
    app = _Application(
        title="Lumni",
        description=openapi.DESCRIPTION,
        default_response_class=JsonResponse,
        exception_handlers=dict(HANDLERS),
        openapi_url="/openapi.json",
        # The page that would show it loads its script from a public CDN, which is nobody this server may vouch for.
        docs_url=None,
        redoc_url=None,
        # A redirect would name the host that the caller's Host header says.
        redirect_slashes=False,
        # The middleware makes the span; FastAPI's own would break the trace in two and record messages.
        telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False},
    )
    for router in routers:
        app.include_router(router)
    return app


def with_middleware(app: ASGIApp, *, origins: Sequence[str] = ()) -> ASGIApp:
    """An application with what every request gets.

    Args:
        app: What answers.
        origins: Whose web pages may call. Callers are known by a bearer key, so a page that forges requests has
            nothing to forge them with; the cookie of /dashboard is sent by its own pages alone.
    """
    if origins:
        app = _Cors(
            app,
            allow_origins=list(origins),
            allow_methods=METHODS,
            # OpenAI's client sends some dozen x-stainless-* headers, so any may be asked for; no cookie counts here.
            allow_headers=["*"],
            expose_headers=["*"],
        )
    return RequestMiddleware(app)
