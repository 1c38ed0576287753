"""A channel that goes on with a new certificate when the files of the old one are replaced."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any, TypeAlias

import grpc

from services.chassis.background import beside
from services.chassis.rpc.certificates import CertificateFiles, Pem

log = logging.getLogger(__name__)

# Seconds between looks at the files.
LOOK_S = 1.0
# Seconds in which a server must take a connection with a new certificate; until one does, calls keep the connections
# that they have.
READY_S = 10.0

Dial: TypeAlias = Callable[[Pem], grpc.aio.Channel]


class RotatingChannel:
    """What generated stubs need of a `grpc.aio.Channel`, over channels that follow each other.

    gRPC takes the certificate of a channel once, when the channel is made. So each certificate gets a channel of its
    own: calls begin on the newest that a server has accepted, and those under way end where they began.
    """

    def __init__(self, files: CertificateFiles, dial: Dial, drain_s: float) -> None:
        """Begin with the certificate of now.

        Args:
            files: Where certificates come from.
            dial: Makes a channel with a certificate.
            drain_s: The longest that calls of an earlier channel may take to end.

        """
        self._files, self._dial, self._drain_s = files, dial, drain_s
        self._shown = files.current()
        self._channel = dial(self._shown)
        self._draining: set[asyncio.Task[None]] = set()
        self._stack = AsyncExitStack()

    def unary_unary(self, *described: Any, **further: Any) -> Callable[..., Any]:
        """A method that answers once."""
        return self._method(lambda channel: channel.unary_unary(*described, **further))

    def unary_stream(self, *described: Any, **further: Any) -> Callable[..., Any]:
        """A method that answers as often as it likes."""
        return self._method(lambda channel: channel.unary_stream(*described, **further))

    def _method(self, make: Callable[[grpc.aio.Channel], Callable[..., Any]]) -> Callable[..., Any]:
        channel, method = self._channel, make(self._channel)

        def invoke(*given: Any, **named: Any) -> Any:
            nonlocal channel, method
            if channel is not self._channel:
                channel, method = self._channel, make(self._channel)
            return method(*given, **named)

        return invoke

    async def close(self) -> None:
        """End all calls and connections."""
        await self._stack.aclose()
        for task in self._draining:
            task.cancel()
        await asyncio.gather(*self._draining, return_exceptions=True)
        await self._channel.close()

    async def __aenter__(self) -> "RotatingChannel":
        await self._stack.enter_async_context(beside(self._following()))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _following(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            pem = self._files.current()
            if pem is not self._shown:
                await self._show(pem)

    async def _show(self, pem: Pem) -> None:
        newer = self._dial(pem)
        try:
            await asyncio.wait_for(newer.channel_ready(), READY_S)
        except BaseException as error:
            await newer.close()
            if not isinstance(error, TimeoutError):
                raise
            log.warning(
                "no server took a connection with the new certificate within %g s; "
                "calls keep those they have, and it is tried again",
                READY_S,
            )
            return
        earlier, self._channel, self._shown = self._channel, newer, pem
        task = asyncio.create_task(self._drain(earlier))
        self._draining.add(task)
        task.add_done_callback(self._draining.discard)

    async def _drain(self, channel: grpc.aio.Channel) -> None:
        try:
            await channel.close(self._drain_s)
        finally:
            await channel.close()
