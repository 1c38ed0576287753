"""What all routes do with a request: read its key and its body within bounds, and notice when its caller leaves."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.types import Receive, Scope

from services.chassis import errors

T = TypeVar("T")

# What callers note about a request: Portkey's trace id and metadata.
NOTES = (b"x-portkey-trace-id", b"x-portkey-metadata")

MAX_BODY = 16 * 1024 * 1024
# A body that is too long is still read to its end within reason, so that the caller can read why it was refused.
MAX_DRAINED = 64 * 1024 * 1024


class CallerLeft(Exception):
    """The connection was closed; an answer would reach nobody."""


async def read(receive: Receive) -> bytes:
    """The whole body.

    Raises:
        TooLarge: it is longer than 16 MiB.
        CallerLeft: the caller left while sending it, or was too slow and was told so by the connection.
    """
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        # Mostly it came with its head.
        body = bytes(message.get("body", b""))
        length = len(body)
    else:
        parts = bytearray()
        length = 0
        while True:
            if message["type"] == "http.disconnect":
                raise CallerLeft
            part = message.get("body", b"")
            length += len(part)
            if length <= MAX_BODY:
                parts += part
            if length > MAX_DRAINED or not message.get("more_body"):
                break
            message = await receive()
        body = bytes(parts)
    if length > MAX_BODY:
        raise errors.TooLarge(f"the body is longer than {MAX_BODY // 2**20} MiB; send less")
    return body


def header(scope: Scope, name: bytes) -> str:
    """The value of the first header of a name, which is in lower case; empty when there is none."""
    return next((value.decode("latin-1") for known, value in scope["headers"] if known == name), "")


async def unless_caller_leaves(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Do the work unless the caller leaves first; then it is cancelled, all the way to the provider.

    Raises:
        CallerLeft: the caller left.
    """

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        # Ends the block below, with all that is known of cancelling one's own task.
        until.reschedule(0)

    try:
        async with asyncio.timeout(None) as until:
            watching = asyncio.create_task(watch())
            try:
                return await work
            finally:
                watching.cancel()
    except TimeoutError:
        if until.expired():
            raise CallerLeft from None
        raise
