"""What all routes do with a request: read its key and its body within bounds, and notice when its caller leaves."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from services.chassis import errors
from services.gateway.keys import authenticator

T = TypeVar("T")

MAX_BODY = 16 * 1024 * 1024
# A body that is too long is still read to its end within reason, so that the caller can read why it was refused.
MAX_DRAINED = 64 * 1024 * 1024


class CallerLeft(Exception):
    """The connection was closed; an answer would reach nobody."""


async def read(request: Request) -> bytes:
    """The whole body.

    Raises:
        TooLarge: it is longer than 16 MiB.
        CallerLeft: the caller left while sending it, or was too slow and was told so by the connection.
    """
    body = bytearray()
    length = 0
    try:
        async for part in request.stream():
            length += len(part)
            if length <= MAX_BODY:
                body += part
            elif length > MAX_DRAINED:
                break
    except ClientDisconnect as error:
        raise CallerLeft from error
    if length > MAX_BODY:
        raise errors.TooLarge(f"the body is longer than {MAX_BODY // 2**20} MiB; send less")
    return bytes(body)


def bearer(request: Request) -> str:
    """The key of the Authorization header; empty when there is none.

    Raises:
        Invalid: there are several.
    """
    return authenticator.bearer(request.headers.getlist("authorization"))


async def unless_caller_leaves(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Do the work unless the caller leaves first; then it is cancelled, all the way to the provider.

    Raises:
        CallerLeft: the caller left.
    """

    async def left() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    task, watch = asyncio.create_task(work), asyncio.create_task(left())
    try:
        await asyncio.wait((task, watch), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise CallerLeft
    finally:
        for one in (task, watch):
            one.cancel()
        await asyncio.wait((task, watch))
