"""A request of a caller who was let in, and the means to answer it."""

from collections.abc import AsyncGenerator, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from starlette.types import Message, Receive, Scope, Send

from services.chassis import errors, json_bounds, offload
from services.chassis.byte_budget import Lease
from services.gateway.keys.permissions import Caller
from services.gateway.limits.mistakes import Attempt
from services.gateway.requests import upload
from services.gateway.requests.upload import Upload
from services.gateway.rest import client_dialects, content, json_answers, requests
from services.gateway.rest.api_format import ApiFormat
from services.gateway.rest.event_stream import EventStream
from services.gateway.rest.requests import CallerLeft

T = TypeVar("T")


class Streamed(Protocol):
    """An answer in chunks that has begun."""

    @property
    def headers(self) -> Mapping[str, str]: ...  # noqa: D102
    @property
    def chunks(self) -> AsyncGenerator[str, None]: ...  # noqa: D102


@dataclass(slots=True)
class Exchange:
    """One request and its answer.

    Args:
        scope: The request's head, as ASGI has it.
        receive: Gives the body's parts.
        send: Takes the answer's.
        caller: Who sent it.
        attempt: What the limit of wrong requests knows of it.
        lease: What the bytes of its body are taken from.
        form: The conventions of the route's API.
        parameters: What the path says, by the names in the route's path.
        model: The model that the path names, for which the body asks then; empty where it names none.
        begun: Whether an answer has begun, so that no other one can be given.

    """

    scope: Scope
    receive: Receive
    send: Send
    caller: Caller
    attempt: Attempt
    lease: Lease
    form: ApiFormat
    parameters: Mapping[str, str] = field(default_factory=dict)
    model: str = ""
    begun: bool = False

    def header(self, name: bytes) -> str:
        """The value of a header by its name in lower case; empty when it was not sent."""
        return requests.header(self.scope, name)

    async def body(self, most_values: int = json_bounds.MAX_VALUES) -> bytes:
        """The whole body, unpacked; a long one holds no more values than it may.

        Raises:
            UnsupportedType: it says that it is no JSON, or is packed by another coding than gzip.
            Invalid: it holds too much.
            TooLarge: it is longer than 16 MiB.
            Exhausted: the bodies of all requests under way are too long together.
            CallerLeft: the caller left while sending it, or was too slow.
        """
        content.check_json(self.header(b"content-type"))
        body = await self._unpacked(json_bounds.Count(most_values))
        if not self.model:
            return body
        return await offload.run(len(body), lambda: client_dialects.with_model(body, self.model))

    async def fields_and_files(self) -> tuple[dict[str, Any], dict[str, Upload]]:
        """The fields and files of a form, with the model that the path names.

        Raises:
            UnsupportedType: it says that it is no form, or is packed by another coding than gzip.
            Invalid: it is no form that can be read.
            TooLarge, Exhausted, CallerLeft: as `body`.
        """
        body = await self._unpacked()
        content_type = self.header(b"content-type")
        fields, files = await offload.run(
            len(body), lambda: upload.read(body, content_type, requests.MAX_BODY + 1)
        )
        return fields | ({"model": self.model} if self.model else {}), files

    async def _unpacked(self, count: json_bounds.Count | None = None) -> bytes:
        coding = self.header(b"content-encoding")
        sent = await requests.read(
            self._received, self.lease, count=None if content.is_packed(coding) else count
        )
        body = await content.unpacked(sent, coding, count, grown=self._grown)
        self.lease.claim(max(0, len(body) - len(sent)), "requests")
        return body

    def _grown(self, size: int) -> None:
        # Also of a body that is refused while it is unpacked.
        self.attempt.size = max(self.attempt.size, size)

    async def _received(self) -> Message:
        message = await self.receive()
        # Also of a body that is refused on its way.
        self.attempt.size += len(message.get("body", b""))
        return message

    async def unless_caller_leaves(self, work: Coroutine[Any, Any, T]) -> T:
        """Do the work, after the body was read; it is cancelled when the caller leaves first.

        Raises:
            CallerLeft: the caller left.
        """
        return await requests.unless_caller_leaves(self.receive, work)

    async def content(self, content: bytes, content_type: str, headers: Mapping[str, str]) -> None:
        """Answer with what is no JSON, as it is."""
        self.begun = True
        await json_answers.send_content(self.send, content, content_type, headers)

    async def answer(self, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Answer with JSON, packed where that is worth it and the caller takes it."""
        shown = dict(headers or {})
        if len(body) >= content.PACKED_FROM and content.takes_gzip(self.header(b"accept-encoding")):
            body = await content.packed(body)
            shown |= {"content-encoding": "gzip", "vary": "accept-encoding"}
        self.begun = True
        await json_answers.send_json(self.send, body, headers=shown)

    async def stream_of(self, beginning: Coroutine[Any, Any, Streamed]) -> None:
        """Answer with a stream when its first piece has come, or when it has been silent for long.

        Until then a failure is an ordinary one; afterwards the answer has begun, and a failure is its last event. The
        chunks are closed when they end or the caller leaves.

        Raises:
            CallerLeft: the caller left before anything was sent.
            Fault: what went wrong before that.
        """
        async with EventStream(self.send, self.form) as events:
            try:
                await self.unless_caller_leaves(_send(events, beginning))
            except CallerLeft:
                if not events.begun:
                    raise
            except errors.Fault as fault:
                if not events.begun:
                    raise
                await events.fail(fault)
            finally:
                self.begun = events.begun


async def _send(events: EventStream, beginning: Coroutine[Any, Any, Streamed]) -> None:
    streamed = await beginning
    await events.send_all(streamed.chunks, streamed.headers)
