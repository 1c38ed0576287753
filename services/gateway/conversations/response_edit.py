"""Gives a response the id by which its caller may come back to it, whoever made it, and has it kept."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import orjson

from services.chassis import errors, status

# What every event with a response in it holds; all others travel as they came.
_WHOLE = '"response":'
_ENDS = ("response.completed", "response.incomplete")


@dataclass(frozen=True, slots=True)
class ResponseEdit:
    """What Lumni says of one response, in place of the provider.

    Args:
        ident: Its id.
        previous: The id of the one that it goes on from; empty where it begins anew.
        keep: Keeps the whole response, and says whether it is kept; None where it is not to be.

    """

    ident: str
    previous: str = ""
    keep: Callable[[dict[str, Any]], Awaitable[bool]] | None = None

    async def whole(self, response: dict[str, Any]) -> dict[str, Any]:
        """The response when it is whole; changes it in place."""
        self._name(response)
        if self.keep is not None:
            response["store"] = await self.keep(response)
        return response

    async def events(self, chunks: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
        """The events of a stream, of which an error is the last. Closes the stream.

        A response is kept before its caller learns that it is whole.
        """
        sent = 0
        async with aclosing(chunks):
            try:
                async for chunk in chunks:
                    yield await self._event(chunk) if _WHOLE in chunk else chunk
                    sent += 1
            except errors.Fault as fault:
                yield error_event(fault, sent)

    async def _event(self, chunk: str) -> str:
        event = orjson.loads(chunk)
        response = event.get("response")
        if not isinstance(response, dict):
            return chunk
        if event.get("type") in _ENDS:
            await self.whole(response)
        else:
            self._name(response)
        return orjson.dumps(event).decode()

    def _name(self, response: dict[str, Any]) -> None:
        response["id"] = self.ident
        response["previous_response_id"] = self.previous or None
        response["store"] = self.keep is not None


def of_request(request_id: str) -> str:
    """The id of the response to a request."""
    return f"resp_{request_id.replace('-', '')}"


def error_event(fault: errors.Fault, sent: int) -> str:
    """An error as the last event; official clients raise it by the object, and others read the fields."""
    error = status.to_http(fault)[2]["error"]
    event = {
        "type": "error",
        "sequence_number": sent,
        "code": error["code"],
        "message": error["message"],
        "param": error["param"],
        "error": error,
    }
    return orjson.dumps(event).decode()
