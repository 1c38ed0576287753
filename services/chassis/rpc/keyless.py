"""Health and reflection where strangers may call: what needs no key must cost next to nothing.

Health is answered for the whole server without reading the message, which may be as long as any. Reflection has to
read, so few calls do so at a time, and none for long.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2

from services.chassis import errors, status

HEALTH = f"/{health.SERVICE_NAME}/"
REFLECTION = "/grpc.reflection."
# Calls of reflection at a time, and watchers of health; programs that need more have a key, and the protos.
REFLECTIONS = 4
WATCHERS = 128
# The longest that a call of reflection may take, in seconds: tools ask a few questions and are done.
REFLECTION_S = 10.0


class KeylessInterceptor(grpc.aio.ServerInterceptor):
    """Bounds the calls that need no key."""

    def __init__(self) -> None:
        self._reflections = asyncio.Semaphore(REFLECTIONS)
        self._watchers = asyncio.Semaphore(WATCHERS)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """The handler of a method, bounded; gRPC calls this."""
        handler = await continuation(handler_call_details)
        name: str = handler_call_details.method
        if handler is None or not name.startswith((HEALTH, REFLECTION)):
            return handler
        if handler.request_streaming:
            return handler._replace(stream_stream=self._reflect(handler.stream_stream))
        if handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(
                self._watch(handler.unary_stream), response_serializer=handler.response_serializer
            )
        return grpc.stream_unary_rpc_method_handler(
            _check(handler.unary_unary), response_serializer=handler.response_serializer
        )

    def _reflect(self, method: Any) -> Any:
        async def call(messages: Any, context: Any) -> None:
            if self._reflections.locked():
                await _refuse(context, "reflection is busy")
            async with self._reflections:
                try:
                    async with asyncio.timeout(REFLECTION_S):
                        async for response in method(messages, context):
                            await context.write(response)
                except TimeoutError:
                    await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "reflection took too long")

        return call

    def _watch(self, method: Any) -> Any:
        async def call(_: Any, context: Any) -> None:
            if self._watchers.locked():
                await _refuse(context, "too many watch the health of this server")
            async with self._watchers:
                await method(health_pb2.HealthCheckRequest(), context)

        return call


def _check(method: Any) -> Any:
    async def call(_: Any, context: Any) -> Any:
        return await method(health_pb2.HealthCheckRequest(), context)

    return call


async def _refuse(context: Any, message: str) -> None:
    await context.abort_with_status(status.to_rpc(errors.Exhausted(f"{message}; try again", retry_after_s=1)))
