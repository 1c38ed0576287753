"""A request of a caller who was let in, and the means to answer it."""

from collections.abc import AsyncGenerator, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from starlette.types import Receive, Scope, Send

from services.gateway.keys.permissions import Caller
from services.gateway.limits.mistakes import Attempt
from services.gateway.rest import requests, responses
from services.gateway.rest.api_format import ApiFormat

T = TypeVar("T")


@dataclass(slots=True)
class Exchange:
    """One request and its answer.

    Args:
        scope: The request's head, as ASGI has it.
        receive: Gives the body's parts.
        send: Takes the answer's.
        caller: Who sent it.
        attempt: What the limit of wrong requests knows of it.
        form: The conventions of the route's API.
        parameters: What the path says, by the names in the route's path.
        begun: Whether an answer has begun, so that no other one can be given.

    """

    scope: Scope
    receive: Receive
    send: Send
    caller: Caller
    attempt: Attempt
    form: ApiFormat
    parameters: Mapping[str, str] = field(default_factory=dict)
    begun: bool = False

    def header(self, name: bytes) -> str:
        """The value of a header by its name in lower case; empty when it was not sent."""
        return requests.header(self.scope, name)

    async def body(self) -> bytes:
        """The whole body.

        Raises:
            TooLarge: it is longer than 16 MiB.
            CallerLeft: the caller left while sending it, or was too slow.
        """
        body = await requests.read(self.receive)
        self.attempt.size = len(body)
        return body

    async def unless_caller_leaves(self, work: Coroutine[Any, Any, T]) -> T:
        """Do the work, after the body was read; it is cancelled when the caller leaves first.

        Raises:
            CallerLeft: the caller left.
        """
        return await requests.unless_caller_leaves(self.receive, work)

    async def answer(self, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Answer with JSON."""
        self.begun = True
        await responses.send_json(self.send, body, headers=headers)

    async def stream(self, chunks: AsyncGenerator[str, None], headers: Mapping[str, str]) -> None:
        """Answer with the chunks as events, until they end or the caller leaves; closes them."""
        self.begun = True
        await responses.send_events(self.receive, self.send, chunks, headers, self.form)
