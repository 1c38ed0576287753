"""Calls within one process: a gRPC channel whose calls reach a servicer without a wire.

Stubs, servicers and the interceptor are those of a call over sockets, so both kinds give a call the same deadline,
cancellation, faults, metadata, span and metrics. A call that went well is logged at DEBUG only: its process has a line
for the request that it was made for. Messages are copied, not serialized, so that neither side sees what the other one
changes later. A call runs in a task of its own, in the context of its server: nothing of the caller's context reaches
it but what its metadata say.

Left out is what only a wire needs: the service token, retries, balancing, and the bounds of messages.
"""

import asyncio
import contextvars
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import Any, NoReturn, TypeAlias, TypeVar, cast

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from services.chassis.byte_budget import ByteBudget, Lease
from services.chassis.config import Mistakes
from services.chassis.rpc.credentials import Metadata
from services.chassis.rpc.interceptor import Interceptor
from services.chassis.rpc.service import Service
from services.chassis.rpc.settings import INPROC, Settings
from services.chassis.wakeup import Wakeup

log = logging.getLogger(__name__)
M = TypeVar("M", bound=Message)

# Responses that a servicer may be ahead of its caller; then it waits, as it would for a full socket.
AHEAD = 16
# Seconds beyond its deadline at which a caller goes on although its servicer does not end: later than the servicer's
# own deadline, so that a servicer that keeps it is recorded as late and not as cancelled.
LATE_S = 0.02
# Seconds that cancelled calls get to end when a server stops.
CANCELLED_S = 5.0

# What runs a method: it writes the responses of a stream to the call, and returns the one of a unary method.
Run: TypeAlias = Callable[["Call"], Awaitable[Message | None]]


class Call:
    """One call: to the caller a sequence of responses, to the servicer the context that gRPC would give it."""

    def __init__(self, request: Message, timeout_s: float | None, metadata: Metadata) -> None:
        self._loop = asyncio.get_running_loop()
        self._request: Message | None = _copy(request)
        self._metadata = metadata
        self._deadline = None if timeout_s is None else self._loop.time() + timeout_s
        self._responses: deque[Message] = deque()
        # What the caller waits for, and what the servicer does.
        self._news, self._room = Wakeup(), Wakeup()
        self.ended = False
        self._error: grpc.aio.AioRpcError | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    # The server's side.

    def begin(self, task: asyncio.Task[None]) -> None:
        """Let a task answer, which ends when the caller leaves or does not wait any longer."""
        self._task = task
        if self._deadline is not None:
            self._timer = self._loop.call_at(
                self._deadline + LATE_S,
                self.stop,
                grpc.StatusCode.DEADLINE_EXCEEDED,
                "the deadline passed",
            )

    def end(self, error: grpc.aio.AioRpcError | None = None) -> None:
        """There are no further responses; what ends a call first decides how."""
        if self.ended:
            return
        self.ended, self._error = True, error
        if self._timer is not None:
            self._timer.cancel()
        self._news.wake()

    def stop(self, code: grpc.StatusCode, details: str) -> None:
        """End the call, and cancel what still works on it."""
        self.end(_error(code, details))
        if self._task is not None:
            self._task.cancel()

    # What the interceptor and servicers know as their context.

    def invocation_metadata(self) -> Metadata:
        """What the caller sent beside its message."""
        return self._metadata

    def time_remaining(self) -> float | None:
        """Seconds until the caller's deadline; None where it set none."""
        return None if self._deadline is None else max(0.0, self._deadline - self._loop.time())

    async def read(self) -> Any:
        """The caller's message, once."""
        request, self._request = self._request, None
        return grpc.aio.EOF if request is None else request

    async def send_initial_metadata(self, metadata: Metadata) -> None:
        """Nothing is sent before the responses."""

    async def write(self, response: Message) -> None:
        """Send a response, after waiting for a caller that has `AHEAD` to read."""
        while len(self._responses) >= AHEAD:
            await self._room.wait()
        self._responses.append(_copy(response))
        self._news.wake()

    async def abort_with_status(self, status: grpc.Status) -> NoReturn:
        """Fail the call with a status and its details."""
        self.end(_error(status.code, status.details, status.trailing_metadata or ()))
        raise grpc.aio.AbortError

    async def abort(self, code: grpc.StatusCode, details: str = "") -> NoReturn:
        """Fail the call."""
        self.end(_error(code, details))
        raise grpc.aio.AbortError

    # The caller's side.

    def __aiter__(self) -> AsyncIterator[Message]:
        return self

    async def __anext__(self) -> Message:
        while not self._responses:
            if self._error is not None:
                raise self._error
            if self.ended:
                raise StopAsyncIteration
            await self._news.wait()
        self._room.wake()
        return self._responses.popleft()

    def cancel(self) -> None:
        """Leave: the servicer is cancelled unless it has ended."""
        self.stop(grpc.StatusCode.CANCELLED, "the caller left")


class _Handed:
    """Receives messages that are there with their calls: nothing is read, decoded or held of them beside the caller."""

    _NOTHING = Lease(ByteBudget(0))

    def lease(self) -> AbstractContextManager[Lease]:
        return nullcontext(self._NOTHING)

    async def message(self, service: str, context: Any, lease: Lease, *, within_s: float) -> Any:  # noqa: ARG002
        return await context.read()


class Server:
    """Answers the calls of its own process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # The request that a call is made for has a line in the same log.
        self._interceptor = Interceptor(settings, None, _Handed(), logged=logging.DEBUG)
        self._methods: dict[str, Run] = {}
        self._context = contextvars.copy_context()
        self._calls: dict[asyncio.Task[None], Call] = {}
        self._stopping = False

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Generated adders call this too; the same handlers come by name."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Take the handlers of a service; generated adders call this."""
        for method, handler in handlers.items():
            name = f"/{service}/{method}"
            # Messages arrive as what they are.
            self._methods[name] = _runner(
                self._interceptor.wrap(name, handler._replace(request_deserializer=_same))
            )

    def start(
        self, method: str, request: Message, timeout_s: float | None, metadata: Metadata | None
    ) -> Call:
        """Begin a call; why it cannot be made is read from it, as any other failure."""
        call = Call(request, timeout_s, metadata or ())
        run = self._methods.get(method)
        if self._stopping:
            call.end(_error(grpc.StatusCode.UNAVAILABLE, "the service is stopping"))
        elif run is None:
            call.end(_error(grpc.StatusCode.UNIMPLEMENTED, "Method not found!"))
        elif len(self._calls) >= self._settings.max_calls:
            call.end(_error(grpc.StatusCode.RESOURCE_EXHAUSTED, "Concurrent RPC limit exceeded!"))
        else:
            loop = asyncio.get_running_loop()
            task = loop.create_task(_answer(run, call), context=self._context.copy())
            self._calls[task] = call
            task.add_done_callback(self._calls.pop)
            call.begin(task)
        return call

    async def stop(self, grace_s: float) -> None:
        """Refuse new calls, and let those under way end; those that take longer than `grace_s` are cancelled."""
        self._stopping = True
        if self._calls:
            await asyncio.wait(self._calls, timeout=grace_s)
        for call in list(self._calls.values()):
            call.stop(grpc.StatusCode.UNAVAILABLE, "the service is stopping")
        if self._calls:
            await asyncio.wait(self._calls, timeout=CANCELLED_S)


class Channel:
    """What generated stubs need of a `grpc.aio.Channel`, for the two kinds of methods in the contract."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def unary_unary(self, method: str, *_: Any, **__: Any) -> Callable[..., Awaitable[Message]]:
        """A method that answers once; serializers are not needed."""

        def invoke(
            request: Message, *, timeout: float | None = None, metadata: Metadata | None = None
        ) -> Awaitable[Message]:
            return _first(self._server.start(method, request, timeout, metadata))

        return invoke

    def unary_stream(self, method: str, *_: Any, **__: Any) -> Callable[..., Call]:
        """A method that answers as often as it likes."""

        def invoke(
            request: Message, *, timeout: float | None = None, metadata: Metadata | None = None
        ) -> Call:
            return self._server.start(method, request, timeout, metadata)

        return invoke

    async def close(self) -> None:
        """End; calls end with their callers."""

    async def __aenter__(self) -> "Channel":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class InProcess:
    """The services of one process that its own channels reach; its composition root makes one."""

    def __init__(self) -> None:
        self._servers: dict[str, Server] = {}

    @asynccontextmanager
    async def serving(self, settings: Settings, services: Sequence[Service]) -> AsyncIterator[None]:
        """Answer calls until the block ends, then drain."""
        server = Server(settings)
        checks = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(checks, cast("grpc.aio.Server", server))
        for service in services:
            service.add(service.servicer, cast("grpc.aio.Server", server))
            await checks.set(service.name, health_pb2.HealthCheckResponse.SERVING)
            self._servers[service.name] = server
        try:
            yield
        finally:
            await server.stop(settings.timeout_s)

    def channel(self, service: str) -> grpc.aio.Channel:
        """A channel to a service of this process.

        Raises:
            Mistakes: it is not in this process.
        """
        server = self._servers.get(service)
        if server is None:
            raise Mistakes([f"{INPROC} leads to no {service} here; name its host:port, or start it here"])
        return cast("grpc.aio.Channel", Channel(server))


def _runner(handler: Any) -> Run:
    """What runs a handler: of four kinds, those that take a stream read their one message from the call."""
    if handler.stream_stream or handler.stream_unary:
        method = handler.stream_stream or handler.stream_unary

        async def guarded(call: Call) -> Any:
            return await method(None, call)

        return guarded
    method = handler.unary_stream or handler.unary_unary

    async def bare(call: Call) -> Any:
        return await method(await call.read(), call)

    return bare


async def _answer(run: Run, call: Call) -> None:
    try:
        response = await run(call)
        if response is not None:
            await call.write(response)
        call.end()
    except grpc.aio.AbortError:
        # It has ended with its status.
        return
    except Exception:
        log.exception("a call failed outside of its handler")
    finally:
        if not call.ended:
            call.end(_error(grpc.StatusCode.UNKNOWN, "internal error"))


async def _first(call: Call) -> Message:
    try:
        return await anext(call)
    finally:
        call.cancel()


def _same(message: Any) -> Any:
    return message


def _copy(message: M) -> M:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def _error(
    code: grpc.StatusCode, details: str, trailing: Sequence[tuple[str, str | bytes]] = ()
) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailing), details)
