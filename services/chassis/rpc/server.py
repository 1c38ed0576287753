"""A server of gRPC services with health, reflection and a drain at the end."""

import asyncio
import gc
import math
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import grpc
from google.protobuf import descriptor_pool
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from services.chassis import listening, memory
from services.chassis.config import Mistakes
from services.chassis.rpc import credentials
from services.chassis.rpc.certificates import CertificateFiles
from services.chassis.rpc.credentials import Admit
from services.chassis.rpc.inproc import InProcess
from services.chassis.rpc.interceptor import Interceptor
from services.chassis.rpc.keyless import KeylessInterceptor
from services.chassis.rpc.receiving import Receiver
from services.chassis.rpc.service import Service
from services.chassis.rpc.settings import INPROC, MAX_MESSAGE, MAX_METADATA, Settings

# Calls that one connection may have under way; further ones wait in the client.
MAX_STREAMS = 1024
# How long a connection may take to begin HTTP/2, and how long it is kept without a call, in milliseconds.
HANDSHAKE_MS = 10_000
IDLE_MS = 300_000
MIB = 2**20
# A server that stops goes on taking calls until none has come for so long, and at the most for the second time, in
# seconds: callers who watch its health send none soon, others never stop.
QUIET_S, LONGEST_QUIET_S = 0.1, 2.0
# Health checks under way at once on the address that needs no certificate.
MAX_PROBES = 16


@asynccontextmanager
async def serve(
    listen: str,
    settings: Settings,
    services: Sequence[Service],
    *,
    admit: Admit | None = None,
    inside: InProcess | None = None,
) -> AsyncIterator[str]:
    """Serve until the block ends, then drain; yields the bound address (port 0 is any free one).

    Args:
        listen: host:port, [::]:port or unix:path; inproc: has no socket.
        settings: Shared by all servers.
        services: What to serve.
        admit: For a public server, whose callers have keys of their own, and no service token or certificate: raises
            a fault for a call that may not go on, by its metadata, before its message is read.
        inside: Where other services of this process find these, with or without a socket.

    Raises:
        ValueError: an address beyond loopback that nothing protects.
        Mistakes: an address that cannot be bound, inproc: where nobody is inside, or files of certificates that
            cannot be used.

    """
    async with AsyncExitStack() as stack:
        if inside is not None:
            await stack.enter_async_context(inside.serving(settings, services))
        if listen != INPROC:
            listen = await stack.enter_async_context(_listening(listen, settings, services, admit))
        elif inside is None:
            raise Mistakes([f"LUMNI_LISTEN: {INPROC} is for services.together; expected host:port"])
        yield listen


@asynccontextmanager
async def _listening(
    listen: str, settings: Settings, services: Sequence[Service], admit: Admit | None
) -> AsyncIterator[str]:
    public = admit is not None
    if not public:
        credentials.check_listen(listen, settings)
    interceptor = Interceptor(
        settings,
        admit or credentials.token_check(settings),
        Receiver({service.name: service.longest for service in services}, settings.max_message_mib * MIB),
    )
    interceptors: list[grpc.aio.ServerInterceptor] = [interceptor]
    if public:
        interceptors.append(KeylessInterceptor())
    server = grpc.aio.server(
        interceptors=interceptors,
        maximum_concurrent_rpcs=settings.max_calls,
        options=[
            ("grpc.max_send_message_length", MAX_MESSAGE),
            ("grpc.max_receive_message_length", max(service.longest for service in services)),
            ("grpc.max_concurrent_streams", MAX_STREAMS),
            ("grpc.server_handshake_timeout_ms", HANDSHAKE_MS),
            ("grpc.max_connection_idle_ms", IDLE_MS),
            ("grpc.max_metadata_size", MAX_METADATA),
            ("grpc.so_reuseport", int(settings.workers > 1)),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
            ("grpc.max_connection_age_ms", int(settings.connection_age_s * 1000)),
            # Reconnecting finds new replicas; the grace keeps it from ever cutting a stream.
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
    if settings.mutual_tls and not public:
        files = CertificateFiles(settings)
        port = _bound(
            "LUMNI_LISTEN", listen, partial(server.add_secure_port, listen, credentials.for_server(files))
        )
    else:
        port = _bound("LUMNI_LISTEN", listen, partial(server.add_insecure_port, listen))
    probed = await _probed(settings, checks) if settings.health_listen and not public else None
    await server.start()
    for name in ("", *names):
        await checks.set(name, health_pb2.HealthCheckResponse.SERVING)
    try:
        yield listen if listen.startswith("unix:") else f"{listen.rpartition(':')[0]}:{port}"
    finally:
        # Balancers turn to other replicas first, then calls under way may end.
        await checks.enter_graceful_shutdown()
        await until_quiet(interceptor)
        await server.stop(settings.timeout_s)
        if probed is not None:
            await probed.stop(None)


async def until_quiet(
    interceptor: Interceptor,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Wait until no call has come for `QUIET_S`: gRPC cancels one that is sent while the server stops.

    Args:
        interceptor: Of the server; where no call has ever come, nobody has to be waited for.
        clock: In seconds, that of `Interceptor.last_call`.
        sleep: For some of them.
    """
    began = clock()
    while interceptor.last_call > -math.inf:
        quiet_at = max(began, interceptor.last_call) + QUIET_S
        left = min(quiet_at, began + LONGEST_QUIET_S) - clock()
        if left <= 0:
            return
        await sleep(left)


async def _probed(settings: Settings, checks: health.aio.HealthServicer) -> grpc.aio.Server:
    """A server of nothing but health checks, for whom has no certificate; it answers until all calls have ended."""
    server = grpc.aio.server(maximum_concurrent_rpcs=MAX_PROBES)
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    address = settings.health_listen
    _bound("LUMNI_HEALTH_LISTEN", address, partial(server.add_insecure_port, address))
    await server.start()
    return server


def _bound(variable: str, address: str, bind: Callable[[], int]) -> int:
    try:
        return bind()
    except RuntimeError as error:
        raise listening.mistake(variable, address, error) from error


async def until_stopped() -> None:
    """Wait for SIGTERM or SIGINT, once the service is up.

    What its start has built stays until its end, so the garbage collector need not look at it again: a full collection
    of all modules stops the loop for 50 ms, with LiteLLM for 200.
    """
    gc.collect()
    gc.freeze()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # Beside the first calls: it takes some 100 ms.
    await asyncio.to_thread(memory.gather)
    await stop.wait()


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
