"""gRPC as every service speaks it: `serve`, `connect`, and nothing else to remember.

A servicer raises faults and never touches its context. The interceptor gives every call a deadline, a span, a
log line and a metric, checks the service token, and turns faults into google.rpc.Status.
"""

import asyncio
import hmac
import json
import logging
import signal
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Mapping,
    Sequence,
)
from contextlib import aclosing, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from ipaddress import ip_address
from math import inf
from pathlib import Path
from typing import Any, TypeVar

import grpc
import prometheus_client
from google.protobuf import descriptor_pool
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from lumni.chat.v1.chat_pb2 import RequestContext
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from services.chassis import errors, status, telemetry
from services.chassis.config import Mistakes, Secret, variable

log = logging.getLogger(__name__)
R = TypeVar("R")

MAX_MESSAGE = 32 * 1024 * 1024
# A failed call's status carries its report, in the trailers.
MAX_METADATA = 128 * 1024
TOKEN_KEY = "x-lumni-service-token"  # noqa: S105  (the header's name)
REQUEST_KEY = "x-request-id"
BUCKETS = (
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1,
    2.5,
    5,
    10,
    30,
    60,
    120,
    300,
    600,
)

DURATION = prometheus_client.Histogram(
    "lumni_rpc_duration_seconds",
    "Time from a call's arrival to its end.",
    ["method", "code"],
    buckets=BUCKETS,
)
IN_FLIGHT = prometheus_client.Gauge("lumni_rpc_in_flight", "Calls under way.", ["method"])


# When the caller stops waiting, on the monotonic clock; what a servicer reads instead of its context.
deadline: ContextVar[float] = ContextVar("deadline")
# The metadata of the current call, for front doors that read a key from it.
incoming: ContextVar[Mapping[str, str]] = ContextVar("incoming")


@dataclass(frozen=True)
class Settings:
    """What servers and channels of all services share."""

    token: Secret = variable(
        "LUMNI_SERVICE_TOKEN", Secret(""), "shared by the services; needed beyond loopback"
    )
    tls_cert: str = variable("LUMNI_TLS_CERT", "", "PEM file of this service's certificate, for mutual TLS")
    tls_key: str = variable("LUMNI_TLS_KEY", "", "PEM file of its key")
    tls_ca: str = variable(
        "LUMNI_TLS_CA", "", "PEM file of the authority that signed all services' certificates"
    )
    reflection: bool = variable("LUMNI_REFLECTION", default=True, doc="lets grpcurl list services")
    timeout_s: float = variable(
        "LUMNI_REQUEST_TIMEOUT_S", 600.0, "longest a call may take, and the drain too"
    )
    connection_age_s: float = variable(
        "LUMNI_CONNECTION_AGE_S", 60.0, "after which clients look for new replicas"
    )

    def __post_init__(self) -> None:
        parts = (self.tls_cert, self.tls_key, self.tls_ca)
        if any(parts) and not all(parts):
            raise ValueError("LUMNI_TLS_CERT, LUMNI_TLS_KEY and LUMNI_TLS_CA: set all three, or none")

    @property
    def mutual_tls(self) -> bool:
        """Whether both sides show certificates."""
        return bool(self.tls_cert)


@dataclass(frozen=True)
class Service:
    """One gRPC service to serve: its full name, the generated adder and the servicer."""

    name: str
    add: Callable[[Any, grpc.aio.Server], None]
    servicer: Any


def check_listen(listen: str, settings: Settings) -> None:
    """Refuse an address that others can reach when nothing tells friend from stranger.

    Raises:
        ValueError: beyond loopback without a service token or mutual TLS.

    """
    if not (_is_loopback(listen) or settings.token or settings.mutual_tls):
        raise ValueError(
            f"LUMNI_LISTEN: {listen} can be reached from other machines; "
            "set LUMNI_SERVICE_TOKEN (or LUMNI_TLS_*), or listen on 127.0.0.1"
        )


def _is_loopback(listen: str) -> bool:
    if listen.startswith("unix:"):
        return True
    host = listen.rpartition(":")[0].strip("[]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def remaining_s() -> float:
    """Seconds until the caller of the current call stops waiting."""
    return deadline.get() - time.monotonic()


def record_item(name: str, context: RequestContext, began_ns: int, fault: errors.Fault | None = None) -> None:
    """Give one item of a batch what a call of its own would have: a span in its request's trace, and a log line.

    Args:
        name: What was done, such as Classify.
        context: The request it was done for.
        began_ns: When the batch began, in nanoseconds since 1970.
        fault: Why it failed, if it did.
    """
    parent = telemetry.remote(context.traceparent)
    span = telemetry.tracer.start_span(name, parent, SpanKind.SERVER, start_time=began_ns)
    if fault is not None:
        span.set_attribute("error.type", fault.reason)
        span.set_status(StatusCode.ERROR)
    token = telemetry.request_id.set(context.request_id)
    try:
        with trace.use_span(span, end_on_exit=True):
            code = fault.reason if fault else "OK"
            took = (time.time_ns() - began_ns) / 1e6
            log.info("%s %s", name, code, extra={"code": code, "duration_ms": round(took, 3)})
    finally:
        telemetry.request_id.reset(token)


@asynccontextmanager
async def serve(
    listen: str, settings: Settings, services: Sequence[Service], *, front_door: bool = False
) -> AsyncIterator[str]:
    """Serve until the block ends, then drain; yields the bound address (port 0 asks for a free one).

    Args:
        listen: host:port, [::]:port or unix:path.
        settings: Shared by all servers.
        services: What to serve.
        front_door: True where callers are strangers with keys of their own, who bring no service token.

    Raises:
        ValueError: an address beyond loopback that nothing protects.
        Mistakes: an address that cannot be bound.

    """
    if not front_door:
        check_listen(listen, settings)
    server = grpc.aio.server(
        interceptors=[_Interceptor(settings, guarded=bool(settings.token) and not front_door)],
        options=[
            ("grpc.max_send_message_length", MAX_MESSAGE),
            ("grpc.max_receive_message_length", MAX_MESSAGE),
            ("grpc.max_metadata_size", MAX_METADATA),
            ("grpc.so_reuseport", 0),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
            ("grpc.max_connection_age_ms", int(settings.connection_age_s * 1000)),
            # Age makes clients look around; the grace keeps it from ever cutting a stream.
            ("grpc.max_connection_age_grace_ms", int(settings.timeout_s * 1000)),
        ],
    )
    for service in services:
        service.add(service.servicer, server)
    names = [service.name for service in services]
    checks = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    if settings.reflection:
        described = (*names, health.SERVICE_NAME, reflection.SERVICE_NAME)
        pool: Any = _Pool()
        reflection.enable_server_reflection(described, server, pool=pool)
    try:
        if settings.mutual_tls and not front_door:
            port = server.add_secure_port(listen, _server_credentials(settings))
        else:
            port = server.add_insecure_port(listen)
    except RuntimeError as error:
        raise Mistakes(
            [f"LUMNI_LISTEN: {listen} cannot be bound; does something listen there already?"]
        ) from error
    await server.start()
    for name in ("", *names):
        await checks.set(name, health_pb2.HealthCheckResponse.SERVING)
    try:
        yield listen if listen.startswith("unix:") else f"{listen.rpartition(':')[0]}:{port}"
    finally:
        # Balancers look away first, then calls under way may end.
        await checks.enter_graceful_shutdown()
        await server.stop(settings.timeout_s)


async def until_stopped() -> None:
    """Wait for SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()


def connect(target: str, settings: Settings, service: str, *, repeatable: bool) -> grpc.aio.Channel:
    """A channel to all replicas of one service, balanced call by call over the healthy ones.

    Args:
        target: dns:///host:port, host:port or unix:path.
        settings: Shared by all channels.
        service: The full name whose health is watched.
        repeatable: Whether a call that met UNAVAILABLE may be sent again; never for what costs money.

    """
    plan: dict[str, Any] = {
        "loadBalancingConfig": [{"round_robin": {}}],
        "healthCheckConfig": {"serviceName": service},
    }
    if repeatable:
        retry = {
            "maxAttempts": 3,
            "initialBackoff": "0.01s",
            "maxBackoff": "0.1s",
            "backoffMultiplier": 2,
            "retryableStatusCodes": ["UNAVAILABLE"],
        }
        plan["methodConfig"] = [{"name": [{}], "retryPolicy": retry}]
        plan["retryThrottling"] = {"maxTokens": 10, "tokenRatio": 0.1}
    options = [
        ("grpc.service_config", json.dumps(plan)),
        ("grpc.enable_retries", int(repeatable)),
        ("grpc.max_send_message_length", MAX_MESSAGE),
        ("grpc.max_receive_message_length", MAX_MESSAGE),
        ("grpc.max_metadata_size", MAX_METADATA),
        ("grpc.absolute_max_metadata_size", 2 * MAX_METADATA),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 5_000),
        # A killed replica is looked for again at once, not after gRPC's minute.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1_000),
        # Each channel its own connections: two channels to one target share none.
        ("grpc.use_local_subchannel_pool", 1),
    ]
    if settings.mutual_tls:
        return grpc.aio.secure_channel(target, _channel_credentials(settings), options)
    return grpc.aio.insecure_channel(target, options)


async def call(
    method: Callable[..., Awaitable[R]], request: Message, settings: Settings, *, timeout_s: float
) -> R:
    """Make a unary call with a deadline, the request's id, its trace context and the service token.

    Raises:
        Fault: what the server raised, or Unavailable or TimedOut from the channel.
    """
    try:
        return await method(request, timeout=timeout_s, metadata=_outgoing(settings))
    except grpc.aio.AioRpcError as error:
        raise status.from_rpc(error) from error


async def stream(
    method: Callable[..., AsyncIterable[R]], request: Message, settings: Settings, *, timeout_s: float
) -> AsyncGenerator[R, None]:
    """Make a streaming call in the same way; leaving the iteration early cancels it."""
    under_way: Any = method(request, timeout=timeout_s, metadata=_outgoing(settings))
    try:
        async for response in under_way:
            yield response
    except grpc.aio.AioRpcError as error:
        raise status.from_rpc(error) from error
    finally:
        under_way.cancel()


async def healthy(
    channel: grpc.aio.Channel, service: str, settings: Settings, *, timeout_s: float = 0.5
) -> bool:
    """Whether a replica behind the channel says that it serves; an empty service asks for the whole server."""
    stub: Any = health_pb2_grpc.HealthStub(channel)
    try:
        request = health_pb2.HealthCheckRequest(service=service)
        response = await call(stub.Check, request, settings, timeout_s=timeout_s)
    except errors.Fault:
        return False
    return bool(response.status == health_pb2.HealthCheckResponse.SERVING)


def _outgoing(settings: Settings) -> tuple[tuple[str, str], ...]:
    pairs = [(REQUEST_KEY, telemetry.request_id.get()), ("traceparent", telemetry.traceparent())]
    if settings.token:
        pairs.append((TOKEN_KEY, settings.token.reveal()))
    return tuple((key, value) for key, value in pairs if value)


def _server_credentials(settings: Settings) -> grpc.ServerCredentials:
    key, certificate, authority = _pem(settings)
    return grpc.ssl_server_credentials([(key, certificate)], authority, require_client_auth=True)


def _channel_credentials(settings: Settings) -> grpc.ChannelCredentials:
    key, certificate, authority = _pem(settings)
    return grpc.ssl_channel_credentials(authority, key, certificate)


def _pem(settings: Settings) -> tuple[bytes, bytes, bytes]:
    key, certificate, authority = (
        Path(path).read_bytes() for path in (settings.tls_key, settings.tls_cert, settings.tls_ca)
    )
    return key, certificate, authority


class _Pool:
    """The descriptors, by the names of methods too: ghz asks reflection for those, and Python's pool has none."""

    def __init__(self) -> None:
        self._pool = descriptor_pool.Default()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def FindFileContainingSymbol(self, symbol: str) -> Any:
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            return self._pool.FindFileContainingSymbol(symbol.rpartition(".")[0])


class _Interceptor(grpc.aio.ServerInterceptor):
    """Wraps each handler once; health and reflection pass unwrapped."""

    def __init__(self, settings: Settings, *, guarded: bool) -> None:
        self._settings = settings
        self._guarded = guarded
        self._wrapped: dict[str, Any] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        name: str = handler_call_details.method
        wrapped = self._wrapped.get(name)
        if wrapped is not None:
            return wrapped
        handler = await continuation(handler_call_details)
        if handler is None or name.startswith("/grpc."):
            return handler
        # RpcMethodHandler is a named tuple; only these two kinds are in the contract.
        if handler.response_streaming:
            wrapped = handler._replace(unary_stream=self._stream(name, handler.unary_stream))
        else:
            wrapped = handler._replace(unary_unary=self._unary(name, handler.unary_unary))
        self._wrapped[name] = wrapped
        return wrapped

    def _unary(self, name: str, method: Any) -> Any:
        async def call(request: Any, context: Any) -> Any:
            return await self._guard(name, request, context, lambda: method(request, context))

        return call

    def _stream(self, name: str, method: Any) -> Any:
        async def send(request: Any, context: Any) -> None:
            # Closing the generator when the caller leaves is what stops the provider's bill at once.
            async with aclosing(method(request, context)) as responses:
                async for response in responses:
                    await context.write(response)

        async def call(request: Any, context: Any) -> None:
            await self._guard(name, request, context, lambda: send(request, context))

        return call

    async def _guard(self, name: str, request: Any, context: Any, run: Callable[[], Awaitable[Any]]) -> Any:
        method = name[1:]
        metadata: dict[str, str] = dict(context.invocation_metadata() or ())
        incoming.set(metadata)
        asked_by = getattr(request, "context", None)
        telemetry.request_id.set(str(metadata.get(REQUEST_KEY) or getattr(asked_by, "request_id", "")))
        left = context.time_remaining()
        deadline.set(time.monotonic() + min(self._settings.timeout_s, left if left is not None else inf))
        parent = telemetry.remote(str(metadata.get("traceparent") or getattr(asked_by, "traceparent", "")))
        began = time.perf_counter()
        code = "OK"
        IN_FLIGHT.labels(method).inc()
        with telemetry.tracer.start_as_current_span(
            method,
            parent,
            SpanKind.SERVER,
            {"rpc.system.name": "grpc", "rpc.method": method},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                if self._guarded:
                    self._check_token(metadata)
                async with asyncio.timeout(remaining_s()):
                    return await run()
            except TimeoutError:
                code = grpc.StatusCode.DEADLINE_EXCEEDED.name
                fault: errors.Fault = errors.TimedOut("the deadline passed")
            except errors.Fault as raised:
                fault = raised
                code = status.to_rpc(fault).code.name
            except asyncio.CancelledError:
                code = grpc.StatusCode.CANCELLED.name
                raise
            except grpc.aio.AbortError:
                raise
            except Exception:
                # Whatever it was, it is ours: the log says all, the caller nothing.
                log.exception("%s failed", method)
                code = grpc.StatusCode.INTERNAL.name
                fault = errors.Internal("internal error")
            finally:
                took = time.perf_counter() - began
                IN_FLIGHT.labels(method).dec()
                DURATION.labels(method, code).observe(took)
                span.set_attribute("rpc.response.status_code", code)
                if code != "OK":
                    span.set_attribute("error.type", code)
                    span.set_status(StatusCode.ERROR)
                log.info("%s %s", method, code, extra={"code": code, "duration_ms": round(took * 1000, 3)})
            return await context.abort_with_status(status.to_rpc(fault))

    def _check_token(self, metadata: Mapping[str, str]) -> None:
        given = metadata.get(TOKEN_KEY, "")
        if not hmac.compare_digest(given.encode(), self._settings.token.reveal().encode()):
            raise errors.Unauthenticated(f"{TOKEN_KEY}: missing or wrong", reason="INVALID_SERVICE_TOKEN")
