"""OpenAI's REST surface: read the request, walk the road, write the answer.

Routes are a few lines; what is common to all of them (ids, traces, errors, size limits, callers that leave) is in
the middleware and helpers below.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Any, TypeVar

import orjson
import prometheus_client
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from lumni.chat.v1 import chat_pb2
from lumni.selector.v1 import selector_pb2
from opentelemetry.trace import SpanKind, StatusCode
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.chassis import eligibility, errors, status, telemetry
from services.chassis.deployments import Fleet
from services.chassis.eligibility import Policy
from services.gateway import chat_request, render
from services.gateway.keys.authenticator import Caller, Keys
from services.gateway.peers.clients import Selector
from services.gateway.pipeline import Pipeline
from services.gateway.request_ids import request_id

log = logging.getLogger(__name__)
T = TypeVar("T")

MAX_BODY = 16 * 1024 * 1024
# A body that is too long is still read to its end within reason, so that the caller can read why it was refused.
MAX_DRAINED = 64 * 1024 * 1024
BODY_TIMEOUT_S = 30.0
# nginx's word for a caller who left.
LEFT = 499

DURATION = prometheus_client.Histogram(
    "lumni_http_request_duration_seconds",
    "Time from a request's arrival to the end of its answer.",
    ["route", "status"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600),
)
IN_FLIGHT = prometheus_client.Gauge("lumni_http_in_flight", "Requests under way.")


class Parts:
    """What the routes need, and which other parts can be asked how they are."""

    def __init__(
        self,
        *,
        keys: Keys,
        pipeline: Pipeline,
        selector: Selector,
        fleet: Fleet,
        health: Mapping[str, Callable[[], Awaitable[bool]]],
    ) -> None:
        self.keys = keys
        self.pipeline = pipeline
        self.selector = selector
        self.fleet = fleet
        self.health = health


def create(parts: Parts, routers: Sequence[APIRouter] = (), *, origins: Sequence[str] = ()) -> ASGIApp:
    """The gateway's REST application.

    Args:
        parts: What the routes need.
        routers: More routes.
        origins: Whose web pages may call. Callers are known by a bearer key, never by a cookie, so a page that
            forges requests has nothing to forge them with.
    """
    app = FastAPI(
        title="Lumni",
        default_response_class=JSON,
        openapi_url="/openapi.json",
        docs_url="/docs",
        redoc_url=None,
        # Edge makes the span; FastAPI's own would break the trace in two and record messages.
        telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False},
    )
    app.include_router(_inference(parts))
    app.include_router(_operations(parts))
    for router in routers:
        app.include_router(router)
    app.add_exception_handler(errors.Fault, _on_fault)
    app.add_exception_handler(Gone, _on_gone)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_validation)
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["GET", "POST"],
            # OpenAI's client sends some dozen x-stainless-* headers, so any may be asked for; no cookie counts here.
            allow_headers=["*"],
            expose_headers=["*"],
        )
    return Edge(app)


class JSON(Response):
    """JSON by orjson."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Serialize; bytes and texts are JSON already."""
        if isinstance(content, str):
            return content.encode()
        return content if isinstance(content, bytes) else orjson.dumps(content)


class EventStream(Response):
    """Server-sent events of a completion, ended early when the caller leaves."""

    def __init__(self, chunks: AsyncGenerator[str, None], headers: Mapping[str, str]) -> None:
        self.chunks = chunks
        self.status_code = 200
        self.background = None
        self.media_type = "text/event-stream"
        self.init_headers({"cache-control": "no-cache", "x-accel-buffering": "no", **headers})
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send until the chunks end or the caller is gone."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        with suppress(Gone):
            await _unless_gone(receive, self._send_all(send))
            await send({"type": "http.response.body", "body": b""})

    async def _send_all(self, send: Send) -> None:
        async def event(data: bytes) -> None:
            await send({"type": "http.response.body", "body": b"data: " + data + b"\n\n", "more_body": True})

        async with aclosing(self.chunks) as chunks:
            try:
                async for chunk in chunks:
                    await event(chunk.encode())
            except errors.Fault as fault:
                # After the first chunk an error is an event, and no [DONE] follows it.
                await event(orjson.dumps(status.to_http(fault)[2]))
                return
        await event(b"[DONE]")


class Gone(Exception):
    """The caller left; nobody reads an answer."""


async def _unless_gone(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Do the work unless the caller leaves first; then it is cancelled, all the way to the provider.

    Raises:
        Gone: the caller left.
    """

    async def left() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    task, watch = asyncio.create_task(work), asyncio.create_task(left())
    try:
        await asyncio.wait((task, watch), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise Gone
    finally:
        for one in (task, watch):
            one.cancel()
        await asyncio.wait((task, watch))


class Edge:
    """What every request gets: an id, a span, a log line, a metric, and an answer even when we fail."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        telemetry.request_id.set(request_id())
        incoming = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        code = LEFT

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
                ]
            await send(message)

        IN_FLIGHT.inc()
        with telemetry.tracer.start_as_current_span(
            scope["method"],
            telemetry.remote(incoming.get("traceparent", "")),
            SpanKind.SERVER,
            {"http.request.method": scope["method"]},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                await self._app(scope, receive, answer)
            except Exception:
                log.exception("a request failed")
                if code == LEFT:
                    code = 500
                    await _on_fault_raw(errors.Internal("internal error"), scope, receive, answer)
            finally:
                took = time.perf_counter() - began
                IN_FLIGHT.dec()
                # The route's pattern, never the path: scanners must not become labels.
                route = getattr(scope.get("route"), "path", "other")
                DURATION.labels(route, str(code)).observe(took)
                span.update_name(f"{scope['method']} {route}")
                span.set_attributes({"http.route": route, "http.response.status_code": code})
                if code >= 500:
                    span.set_status(StatusCode.ERROR)
                log.info(
                    "%s %s %d",
                    scope["method"],
                    route,
                    code,
                    extra={"status": code, "duration_ms": round(took * 1000, 2)},
                )


async def _on_fault_raw(fault: errors.Fault, scope: Scope, receive: Receive, send: Send) -> None:
    code, headers, body = status.to_http(fault)
    await JSON(body, code, headers)(scope, receive, send)


async def _on_fault(_: Request, error: Exception) -> Response:
    assert isinstance(error, errors.Fault)
    code, headers, body = status.to_http(error)
    return JSON(body, code, headers)


async def _on_gone(_: Request, __: Exception) -> Response:
    return Response(status_code=LEFT)


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    known = {
        404: f"no route {request.method} {request.url.path[:200]}",
        405: "this route takes another method",
    }
    message = known.get(error.status_code, str(error.detail))
    kind = "invalid_request_error" if error.status_code < 500 else "server_error"
    body = {"error": {"message": message, "type": kind, "param": None, "code": None}}
    return JSON(body, error.status_code)


async def _on_validation(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
    code, headers, body = status.to_http(errors.Invalid(f"{name}: {first['msg']}", param=name or None))
    return JSON(body, code, headers)


async def read(request: Request) -> bytes:
    """The whole body.

    Raises:
        TooLarge: it is longer than 16 MiB.
        TimedOut: it does not arrive.
        Gone: the caller left while sending it.
    """
    held = bytearray()
    length = 0
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for part in request.stream():
                length += len(part)
                if length <= MAX_BODY:
                    held += part
                elif length > MAX_DRAINED:
                    break
    except TimeoutError as error:
        raise errors.TimedOut("the body did not arrive in time") from error
    except ClientDisconnect as error:
        raise Gone from error
    if length > MAX_BODY:
        raise errors.TooLarge(f"the body is longer than {MAX_BODY // 2**20} MiB; send less")
    return bytes(held)


def bearer(request: Request) -> str:
    """The key of an Authorization header; empty when there is none."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def _inference(parts: Parts) -> APIRouter:
    router = APIRouter(prefix="/v1")

    async def admitted(request: Request) -> tuple[Caller, chat_request.Chat]:
        caller = await parts.keys.caller(bearer(request))
        chat = chat_request.parse(await read(request))
        if hint := request.headers.get("x-lumni-task-type"):
            if hint not in chat_request.TASK_TYPES:
                raise errors.Invalid(
                    f"x-lumni-task-type: expected one of {', '.join(chat_request.TASK_TYPES)}"
                )
            chat = replace(chat, hints=replace(chat.hints, task_type=hint))
        return caller, chat

    @router.post("/chat/completions")
    async def chat_completions(request: Request) -> Response:
        caller, chat = await admitted(request)
        if chat.stream:
            stream = await _unless_gone(request.receive, parts.pipeline.stream(caller, chat))
            return EventStream(stream.chunks, stream.headers)
        answer = await _unless_gone(request.receive, parts.pipeline.complete(caller, chat))
        return JSON(answer.body, headers=answer.headers)

    @router.post("/route")
    async def route(request: Request) -> Response:
        caller, chat = await admitted(request)
        seen_as = parts.keys.as_if(caller, chat.hints.plan)
        decision = await parts.pipeline.route(caller, chat, seen_as=seen_as)
        return JSON(
            {
                "classification": render.classification(decision.classification),
                "selection": render.selection(decision.selection),
                "degraded": decision.degraded,
            }
        )

    @router.get("/models")
    async def models(request: Request) -> Response:
        caller = await parts.keys.caller(bearer(request))
        auto = {"id": "auto", "object": "model", "created": 0, "owned_by": "lumni"}
        return JSON({"object": "list", "data": [auto, *await _models(parts, caller)]})

    @router.get("/models/{name:path}")
    async def model(request: Request, name: str) -> Response:
        caller = await parts.keys.caller(bearer(request))
        found = next((one for one in await _models(parts, caller) if one["id"] == name), None)
        if found is None:
            raise errors.NotFound(
                f"the model {name[:100]} does not exist, or your plan does not reach it",
                reason="MODEL_NOT_FOUND",
                param="model",
            )
        return JSON(found)

    return router


async def _models(parts: Parts, caller: Caller) -> list[dict[str, Any]]:
    request = selector_pb2.ListModelsRequest(
        context=chat_pb2.RequestContext(request_id=telemetry.request_id.get(), plan=caller.plan.name),
        policy=selector_pb2.Policy(allowed_models=caller.models, access_groups=caller.plan.access_groups),
    )
    try:
        models = await parts.selector.models(request)
        # Apps offer what is listed, so what has no key is left out; unless no executor has been heard of at all.
        listed = [one for one in models if one.callable] or models
        return [render.model(one) for one in listed]
    except errors.Unavailable:
        # Without the selector the names are still known, just not what stands behind them.
        policy = Policy(allowed_models=caller.models, access_groups=caller.plan.access_groups)
        rules = list(eligibility.permissions(policy, parts.fleet.aliases))
        return [
            {"id": name, "object": "model", "created": 0, "owned_by": deployments[0].provider}
            for name, deployments in sorted(parts.fleet.by_model().items())
            if any(all(rule.passes(one) for rule in rules) for one in deployments)
        ]


def _operations(parts: Parts) -> APIRouter:
    router = APIRouter()

    async def states() -> dict[str, bool]:
        names = list(parts.health)
        answers = await asyncio.gather(*(parts.health[name]() for name in names))
        return dict(zip(names, answers, strict=True))

    @router.get("/health/live")
    async def live() -> Response:
        return JSON({"status": "ok"})

    @router.get("/health/ready")
    async def ready() -> Response:
        fit = await parts.health["executor"]()
        return JSON({"status": "ok" if fit else "the executor does not answer"}, 200 if fit else 503)

    @router.get("/health")
    async def health() -> Response:
        found = await states()
        shown = {name: "ok" if fit else "down" for name, fit in found.items()}
        return JSON({"status": "ok" if all(found.values()) else "degraded", "parts": shown})

    @router.get("/metrics")
    async def metrics(request: Request) -> Response:
        await parts.keys.admin(bearer(request))
        return Response(prometheus_client.generate_latest(), media_type=prometheus_client.CONTENT_TYPE_LATEST)

    return router
