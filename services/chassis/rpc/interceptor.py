"""What every call of a server gets: a deadline, a span, a log line, metrics, and faults as statuses."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from contextvars import ContextVar
from functools import cache
from math import inf
from typing import Any

import grpc
import prometheus_client
from google.protobuf.message import DecodeError
from lumni.chat.v1.chat_pb2 import RequestContext

from services.chassis import errors, stages, status, telemetry
from services.chassis.byte_budget import Lease
from services.chassis.rpc.credentials import Admit
from services.chassis.rpc.receiving import Receives
from services.chassis.rpc.settings import REQUEST_KEY, Settings

log = logging.getLogger(__name__)

# The statuses that are errors of a server by OpenTelemetry's conventions for RPC; the others are the caller's doing.
SERVER_ERRORS = frozenset(
    ("UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS")
)
# How the names of methods begin that take several requests at once.
BATCH = "/Batch"
# How those of gRPC's own services do: health and reflection.
OF_GRPC = "/grpc."
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
IN_FLIGHT = prometheus_client.Gauge(
    "lumni_rpc_in_flight", "Calls under way.", ["method"], multiprocess_mode="livesum"
)

# The metrics of each method, looked up once.
_duration, _in_flight = cache(DURATION.labels), cache(IN_FLIGHT.labels)

# The deadline of the current call, on the monotonic clock; what a servicer reads instead of its context.
deadline: ContextVar[float] = ContextVar("deadline")

# Bytes of the message of the current call as it came; 0 within a process, where none is serialized.
message_bytes: ContextVar[int] = ContextVar("message_bytes", default=0)


def remaining_s() -> float:
    """Seconds until the deadline of the current call."""
    return deadline.get() - time.monotonic()


def record_item(name: str, context: RequestContext, began_ns: int, fault: errors.Fault | None = None) -> None:
    """Give one item of a batch what a call of its own would have: a span in its request's trace, and a log line.

    Args:
        name: What was done, such as Classify.
        context: The request it was done for.
        began_ns: When the batch began, in nanoseconds since 1970.
        fault: Why it failed, if it did.
    """
    token = telemetry.request_id.set(context.request_id)
    try:
        with telemetry.server_span(name, context.traceparent, start_time=began_ns) as span:
            if fault is not None and status.to_rpc(fault).code.name in SERVER_ERRORS:
                stages.fail(span, fault.reason)
            code = fault.reason if fault else "OK"
            took = (time.time_ns() - began_ns) / 1e6
            log.info("%s %s", name, code, extra={"code": code, "duration_ms": round(took, 3)})
    finally:
        telemetry.request_id.reset(token)


async def _send_headers(context: Any) -> None:
    """Send the headers of a stream, to the end even if the deadline passes meanwhile.

    gRPC would send them with the first response, and hold them for unsent when that write is interrupted: then every
    status fails, for it would send them again, and the caller waits for the end of the stream in vain.
    """
    sending = asyncio.ensure_future(context.send_initial_metadata(()))
    try:
        await asyncio.shield(sending)
    except asyncio.CancelledError:
        # They fail only where the caller has gone.
        with suppress(grpc.aio.InternalError):
            await sending
        raise


class Interceptor(grpc.aio.ServerInterceptor):
    """Wraps each handler once, so that a call is admitted by its metadata before a byte of its message is read.

    gRPC reads the message of a handler that takes a single one before it calls the handler, so the wrapped handlers
    take a stream of messages, and read the one that there is. Health and reflection pass as they are.
    """

    def __init__(
        self, settings: Settings, admit: Admit | None, receiver: Receives, *, logged: int = logging.INFO
    ) -> None:
        """Wrap handlers.

        Args:
            settings: Of the server.
            admit: Says who may call; None where everybody may.
            receiver: Reads the messages.
            logged: The level of the line of a call that went well.
        """
        self._settings = settings
        self._admit = admit
        self._receiver = receiver
        self._logged = logged
        self._wrapped: dict[str, Any] = {}
        # When a call last came, by the monotonic clock, in seconds; health and reflection do not count.
        self.last_call = -inf

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """The handler of a method, wrapped; gRPC calls this."""
        name: str = handler_call_details.method
        if not name.startswith(OF_GRPC):
            self.last_call = time.monotonic()
        wrapped = self._wrapped.get(name)
        if wrapped is not None:
            return wrapped
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        self._wrapped[name] = wrapped = self.wrap(name, handler)
        return wrapped

    def wrap(self, name: str, handler: Any) -> Any:
        """The handler of a method, guarded; health and reflection as they are."""
        if name.startswith(OF_GRPC):
            return handler
        # Only these two kinds are in the contract.
        if handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(
                self._stream(name, handler), response_serializer=handler.response_serializer
            )
        return grpc.stream_unary_rpc_method_handler(
            self._unary(name, handler), response_serializer=handler.response_serializer
        )

    def _unary(self, name: str, handler: Any) -> Any:
        async def call(_: Any, context: Any) -> Any:
            def run(request: Any) -> Any:
                return handler.unary_unary(request, context)

            return await self._guard(name, context, handler.request_deserializer, run)

        return call

    def _stream(self, name: str, handler: Any) -> Any:
        async def call(_: Any, context: Any) -> None:
            async def run(request: Any) -> None:
                # Closing the generator when the caller hangs up stops the provider's bill at once.
                async with aclosing(handler.unary_stream(request, context)) as responses:
                    begun = False
                    async for response in responses:
                        if not begun:
                            await _send_headers(context)
                            begun = True
                        await context.write(response)

            await self._guard(name, context, handler.request_deserializer, run)

        return call

    async def _received(
        self, service: str, context: Any, decode: Callable[[Any], Any], lease: Lease
    ) -> tuple[Any, errors.Fault | None]:
        """The message of a call that is admitted; or why it is not admitted, or has none."""
        try:
            if self._admit is not None:
                async with asyncio.timeout(remaining_s()):
                    lease.owner = await self._admit(context.invocation_metadata() or ())
            raw = await self._receiver.message(service, context, lease, within_s=remaining_s())
            message_bytes.set(lease.held)
            return decode(raw), None
        except TimeoutError:
            return None, errors.TimedOut("the deadline passed")
        except DecodeError:
            # What the parser says of it is of no use to a caller, and of this program's insides.
            return None, errors.Invalid(
                "the message cannot be decoded; is it made from this version's protos?"
            )
        except errors.Fault as refused:
            return None, refused

    async def _guard(
        self,
        name: str,
        context: Any,
        decode: Callable[[Any], Any],
        run: Callable[[Any], Awaitable[Any]],
    ) -> Any:
        with self._receiver.lease() as lease:
            return await self._guarded(name[1:], context, decode, run, lease)

    async def _guarded(
        self,
        method: str,
        context: Any,
        decode: Callable[[Any], Any],
        run: Callable[[Any], Awaitable[Any]],
        lease: Lease,
    ) -> Any:
        metadata: dict[str, str] = dict(context.invocation_metadata() or ())
        left = context.time_remaining()
        deadline.set(time.monotonic() + min(self._settings.timeout_s, left if left is not None else inf))
        began, began_ns = time.perf_counter(), time.time_ns()
        request, refused = await self._received(method.partition("/")[0], context, decode, lease)
        request_context = getattr(request, "context", None)
        telemetry.request_id.set(str(metadata.get(REQUEST_KEY) or getattr(request_context, "request_id", "")))
        parent = str(metadata.get("traceparent") or getattr(request_context, "traceparent", ""))
        code = "OK"
        _in_flight(method).inc()
        attributes = {"rpc.system.name": "grpc", "rpc.method": method}
        # From its arrival on, so that the check of its key lies within.
        with telemetry.server_span(method, parent, attributes, start_time=began_ns) as span:
            try:
                if refused is not None:
                    raise refused
                async with asyncio.timeout(remaining_s()):
                    return await run(request)
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
                code = grpc.StatusCode.UNKNOWN.name
                raise
            except Exception:
                # Whatever it was, it is our mistake: its text is for the log, not for the caller.
                log.exception("%s failed", method)
                code = grpc.StatusCode.INTERNAL.name
                fault = errors.Internal("internal error")
            finally:
                took = time.perf_counter() - began
                _in_flight(method).dec()
                _duration(method, code).observe(took, telemetry.exemplar())
                span.set_attribute("rpc.response.status_code", code)
                if code in SERVER_ERRORS:
                    stages.fail(span, code)
                # Each item of a batch has its own line.
                well = logging.DEBUG if BATCH in method else self._logged
                level = well if code == "OK" else logging.INFO
                shown = {"code": code, "duration_ms": round(took * 1000, 3)}
                log.log(level, "%s %s", method, code, extra=shown)
            try:
                return await context.abort_with_status(status.to_rpc(fault))
            finally:
                # They know this frame, and with it the message, which would wait for the garbage collector.
                del fault, refused
