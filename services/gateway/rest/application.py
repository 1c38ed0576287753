"""The REST application: its routes, its error answers, and the middleware around them."""

from collections.abc import Sequence

from fastapi import APIRouter, FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from services.gateway.rest.error_handlers import HANDLERS
from services.gateway.rest.middleware import RequestMiddleware
from services.gateway.rest.responses import JsonResponse


def create(routers: Sequence[APIRouter], *, origins: Sequence[str] = ()) -> ASGIApp:
    """Put the routers together.

    Args:
        routers: All routes.
        origins: Whose web pages may call. Callers are known by a bearer key, never by a cookie, so a page that
            forges requests has nothing to forge them with.
    """
    app = FastAPI(
        title="Lumni",
        default_response_class=JsonResponse,
        exception_handlers=dict(HANDLERS),
        openapi_url="/openapi.json",
        docs_url="/docs",
        redoc_url=None,
        # The middleware makes the span; FastAPI's own would break the trace in two and record messages.
        telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False},
    )
    for router in routers:
        app.include_router(router)
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["GET", "POST"],
            # OpenAI's client sends some dozen x-stainless-* headers, so any may be asked for; no cookie counts here.
            allow_headers=["*"],
            expose_headers=["*"],
        )
    return RequestMiddleware(app)
