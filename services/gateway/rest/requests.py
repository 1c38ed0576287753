"""What all routes do with a request: read its key and its body within bounds, and notice when its caller leaves."""

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import Any, TypeVar

from starlette.types import Receive, Scope

from services.chassis import errors, json_bounds, offload
from services.chassis.byte_budget import ByteBudget, Lease

T = TypeVar("T")

# What callers note about a request: Portkey's trace id and metadata.
NOTES = (b"x-portkey-trace-id", b"x-portkey-metadata")

MAX_BODY = 16 * 1024 * 1024
# Of feedback and of what admins send.
MAX_SHORT_BODY = 256 * 1024
# A body that is too long is still read to its end within reason, so that the caller can read why it was refused.
MAX_DRAINED = 64 * 1024 * 1024
# What of a body is looked at in one step, in bytes.
BLOCK = 1024 * 1024


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


async def read(
    receive: Receive, lease: Lease, longest: int = MAX_BODY, *, count: json_bounds.Count | None = None
) -> bytes:
    """The whole body, its bytes taken from a lease as they come.

    A long one is counted and put together beside the event loop, block by block: what holds too much is thrown away
    from there on, and the connection waits meanwhile.

    Args:
        receive: Gives the body's parts.
        lease: What its bytes are taken from.
        longest: Bytes that it may have.
        count: Refuses a long body that holds too much; one that is no longer than a block is left to its parser.

    Raises:
        TooLarge: it is longer than `longest` bytes.
        Invalid: what `count` says.
        Exhausted: the bodies of all requests under way are too long together.
        CallerLeft: the caller left while sending it, or was too slow and was told so by the connection.
    """
    length = 0
    block = bytearray()
    blocks: list[bytes] = []
    refusal: errors.Fault | None = None
    more = True
    while more and length <= MAX_DRAINED:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise CallerLeft
        part = message.get("body", b"")
        more = message.get("more_body", False)
        length += len(part)
        if refusal is None and length > longest:
            refusal = _too_long(longest)
        if refusal is not None:
            # Read to its end all the same, so that the caller can read why, and held no longer.
            blocks.clear()
            block.clear()
            lease.give_back()
            continue
        lease.claim(len(part), "requests")
        if not more and not length - len(part):
            # Mostly it came with its head.
            return bytes(part)
        block += part
        if len(block) >= BLOCK:
            blocks.append(bytes(block))
            block.clear()
            try:
                if count is not None:
                    await offload.run(len(blocks[-1]), partial(count.add, blocks[-1]))
            except errors.Invalid as fault:
                refusal = fault
    if refusal is not None:
        try:
            raise refusal
        finally:
            # It knows this frame, and with it the body, which would wait for the garbage collector.
            del refusal
    return await offload.run(length, lambda: b"".join((*blocks, bytes(block))))


def _too_long(longest: int) -> errors.TooLarge:
    shown = f"{longest // 2**20} MiB" if longest >= 2**20 else f"{longest // 2**10} KiB"
    return errors.TooLarge(f"the body is longer than {shown}; send less")


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
