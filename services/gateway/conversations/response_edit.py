"""Gives a response the id by which its caller may come back to it, whoever made it."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import orjson

from services.chassis import errors, status

# How an event that carries the whole response begins, wherever its name stands: all others travel as they came.
_WHOLE = '"response":'


@dataclass(frozen=True, slots=True)
class ResponseEdit:
    """What Lumni says of one response, in place of the provider.

    Args:
        ident: Its id.
        previous: The id of the one that it goes on from; empty where it begins anew.
        store: Whether it is kept.

    """

    ident: str
    previous: str = ""
    store: bool = False

    def edited(self, response: dict[str, Any]) -> dict[str, Any]:
        """The response under its id; changes it in place."""
        response["id"] = self.ident
        response["previous_response_id"] = self.previous or None
        response["store"] = self.store
        return response

    async def events(self, chunks: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
        """The events of a stream; an error after the first is the last of them. Closes the stream.

        Raises:
            Fault: nothing came before it.
        """
        sent = 0
        async with aclosing(chunks):
            try:
                async for chunk in chunks:
                    yield self._event(chunk) if _WHOLE in chunk else chunk
                    sent += 1
            except errors.Fault as fault:
                yield _error(fault, sent)

    def _event(self, chunk: str) -> str:
        event = orjson.loads(chunk)
        if not isinstance(event.get("response"), dict):
            return chunk
        self.edited(event["response"])
        return orjson.dumps(event).decode()


def of_request(request_id: str) -> str:
    """The id of the response to a request."""
    return f"resp_{request_id.replace('-', '')}"


def _error(fault: errors.Fault, sent: int) -> str:
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
