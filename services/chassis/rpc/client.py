"""Channels to services, and calls through them."""

import json
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable
from typing import Any, TypeVar, cast

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.chassis import errors, status, telemetry
from services.chassis.rpc import credentials
from services.chassis.rpc.certificates import CertificateFiles, Pem
from services.chassis.rpc.inproc import InProcess
from services.chassis.rpc.rotation import RotatingChannel
from services.chassis.rpc.settings import (
    INPROC,
    MAX_MESSAGE,
    MAX_METADATA,
    REQUEST_KEY,
    TOKEN_KEY,
    Settings,
)

R = TypeVar("R")


def connect(
    target: str, settings: Settings, service: str, *, repeatable: bool, inside: InProcess | None = None
) -> grpc.aio.Channel:
    """A channel to all replicas of one service, balanced call by call over the healthy ones.

    Args:
        target: dns:///host:port, host:port or unix:path; inproc: for the one in this process.
        settings: Shared by all channels.
        service: The full name whose health is watched.
        repeatable: Whether a call that met UNAVAILABLE may be sent again; never for what costs money.
        inside: The services of this process.

    Raises:
        Mistakes: inproc: where the service is not in this process, or files of certificates that cannot be used.

    """
    if target == INPROC:
        return (inside or InProcess()).channel(service)
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
        # Also without a policy: a call that met the end of its connection, and that no server has seen, is sent again.
        ("grpc.enable_retries", 1),
        ("grpc.max_send_message_length", MAX_MESSAGE),
        ("grpc.max_receive_message_length", MAX_MESSAGE),
        ("grpc.max_metadata_size", MAX_METADATA),
        ("grpc.absolute_max_metadata_size", 2 * MAX_METADATA),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 5_000),
        # A killed replica is tried again at once, not after gRPC's minute.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1_000),
        # This is the time that a connection may take to be made, by a busy server too, and with its handshake.
        ("grpc.min_reconnect_backoff_ms", 1_000),
        # Each channel its own connections: two channels to one target share none.
        ("grpc.use_local_subchannel_pool", 1),
    ]
    if settings.mutual_tls:

        def dial(pem: Pem) -> grpc.aio.Channel:
            return grpc.aio.secure_channel(target, credentials.for_channel(pem), options)

        return cast("grpc.aio.Channel", RotatingChannel(CertificateFiles(settings), dial, settings.timeout_s))
    return grpc.aio.insecure_channel(target, options)


async def call(
    method: Callable[..., Awaitable[R]],
    request: Message,
    settings: Settings,
    *,
    timeout_s: float,
    shown: Callable[[errors.Fault], errors.Fault] = lambda fault: fault,
) -> R:
    """Make a unary call with a deadline, the request's id, its trace context and the service token.

    Args:
        method: Of a stub.
        request: Its message.
        settings: Shared by all channels.
        timeout_s: Until its end.
        shown: What to raise for a fault.

    Raises:
        Fault: what the server raised, or Unavailable or TimedOut from the channel.
    """
    try:
        return await method(request, timeout=timeout_s, metadata=_outgoing(settings))
    except grpc.aio.AioRpcError as error:
        raise shown(status.from_rpc(error)) from error


async def stream(
    method: Callable[..., AsyncIterable[R]],
    request: Message,
    settings: Settings,
    *,
    timeout_s: float,
    shown: Callable[[errors.Fault], errors.Fault] = lambda fault: fault,
) -> AsyncGenerator[R, None]:
    """Make a streaming call in the same way; ending the iteration early cancels it.

    Faults are changed in here, for a generator around this one would cost each message of the stream.
    """
    under_way: Any = method(request, timeout=timeout_s, metadata=_outgoing(settings))
    try:
        async for response in under_way:
            yield response
    except grpc.aio.AioRpcError as error:
        raise shown(status.from_rpc(error)) from error
    finally:
        under_way.cancel()


async def healthy(
    channel: grpc.aio.Channel, service: str, settings: Settings, *, timeout_s: float = 0.5
) -> bool:
    """Whether a replica behind the channel says that it serves; an empty service name means the whole server."""
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
