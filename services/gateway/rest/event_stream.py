"""A stream of server-sent events: its chunks as they come, and a sign of life while a model is silent."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from types import TracebackType

from opentelemetry import trace
from starlette.types import Send

from services.chassis import errors, stages
from services.gateway.rest.api_format import ApiFormat
from services.gateway.rest.json_answers import raw_headers

HEAD = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    # nginx would hold chunks back.
    (b"x-accel-buffering", b"no"),
)
# Seconds of silence after which a comment is sent; proxies close connections after 30 to 60.
SILENT_S = 10.0
# What clients of server-sent events skip.
COMMENT = b": the model is working\n\n"


class EventStream:
    """One stream; while its block runs, a comment follows every `SILENT_S` of silence, as the first piece if need be.

    Attributes:
        begun: Whether anything was sent, so that what goes wrong is an event.

    """

    def __init__(self, send: Send, form: ApiFormat) -> None:
        self.begun = False
        self._send = send
        self._form = form
        self._silent = True
        self._commenting: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "EventStream":
        self._timer = self._next_look()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if self._commenting is not None:
            self._commenting.cancel()

    async def send_all(self, chunks: AsyncGenerator[str, None], headers: Mapping[str, str]) -> None:
        """Send the chunks of an answer as events until they end; closes them.

        After the first chunk an error is an event, and the mark of a good end does not follow it.
        """
        async with aclosing(chunks):
            await self._begin(headers)
            try:
                async for chunk in chunks:
                    await self._event(self._form.event(chunk))
            except errors.Fault as fault:
                await self.fail(fault)
            else:
                await self._event(self._form.end, more=False)

    async def fail(self, fault: errors.Fault) -> None:
        """End a stream that has begun with what went wrong; its span says so, as the status of the answer cannot."""
        stages.fail(trace.get_current_span(), fault.reason)
        await self._event(self._form.error_event(fault), more=False)

    async def _begin(self, headers: Mapping[str, str]) -> None:
        if not self.begun:
            self.begun = True
            head = [*HEAD, *raw_headers(headers)]
            await self._send({"type": "http.response.start", "status": 200, "headers": head})

    async def _event(self, event: bytes, *, more: bool = True) -> None:
        self._silent = False
        if self._commenting is not None and not self._commenting.done():
            # Not in the midst of it.
            await asyncio.wait((self._commenting,))
        await self._send({"type": "http.response.body", "body": event, "more_body": more})

    def _next_look(self) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(SILENT_S, self._look)

    def _look(self) -> None:
        if self._silent and (self._commenting is None or self._commenting.done()):
            self._commenting = asyncio.create_task(self._comment())
        self._silent = True
        self._timer = self._next_look()

    async def _comment(self) -> None:
        # A connection that is gone is noticed by whoever reads the next chunk.
        with suppress(OSError):
            await self._begin({})
            await self._send({"type": "http.response.body", "body": COMMENT, "more_body": True})
