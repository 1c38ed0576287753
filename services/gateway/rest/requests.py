"""What all routes do with a request: read its key and its body within bounds, and notice when its caller leaves."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.types import Receive, Scope

from services.chassis import errors
from services.chassis.byte_budget import ByteBudget, Lease

T = TypeVar("T")

# What callers note about a request: Portkey's trace id and metadata.
NOTES = (b"x-portkey-trace-id", b"x-portkey-metadata")

MAX_BODY = 16 * 1024 * 1024
# Of feedback and of what admins send.
MAX_SHORT_BODY = 256 * 1024
# A body that is too long is still read to its end within reason, so that the caller can read why it was refused.
MAX_DRAINED = 64 * 1024 * 1024
# Seconds after which a body may find room that found none.
RETRY_AFTER_S = 1.0


class CallerLeft(Exception):
    """The connection was closed; an answer would reach nobody."""


async def read_short(receive: Receive) -> bytes:
    """The whole body where none is long.

    Raises:
        TooLarge: it is longer than 256 KiB.
        CallerLeft: as `read`.
    """
    with ByteBudget(MAX_SHORT_BODY).lease() as lease:
        return await read(receive, lease, MAX_SHORT_BODY)


async def read(receive: Receive, lease: Lease, longest: int = MAX_BODY) -> bytes:
    """The whole body, its bytes taken from a lease as they come.

    Raises:
        TooLarge: it is longer than `longest` bytes.
        Exhausted: the bodies of all requests under way are too long together.
        CallerLeft: the caller left while sending it, or was too slow and was told so by the connection.
    """
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        # Mostly it came with its head.
        body = bytes(message.get("body", b""))
        length = len(body)
        if length <= longest:
            take(lease, length)
    else:
        parts = bytearray()
        length = 0
        while True:
            if message["type"] == "http.disconnect":
                raise CallerLeft
            part = message.get("body", b"")
            length += len(part)
            if length <= longest:
                take(lease, len(part))
                parts += part
            if length > MAX_DRAINED or not message.get("more_body"):
                break
            message = await receive()
        body = bytes(parts)
    if length > longest:
        shown = f"{longest // 2**20} MiB" if longest >= 2**20 else f"{longest // 2**10} KiB"
        raise errors.TooLarge(f"the body is longer than {shown}; send less")
    return body


def take(lease: Lease, count: int) -> None:
    """Take bytes for a body.

    Raises:
        Exhausted: so many are not left.
    """
    if not lease.take(count):
        raise errors.Exhausted(
            "too many bytes of requests are under way here; try again", retry_after_s=RETRY_AFTER_S
        )


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
