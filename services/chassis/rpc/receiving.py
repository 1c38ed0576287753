"""How the message of a call is received: within a time, a size and a number of fields, and within a bound in all.

A message is decoded on the event loop, where each of its fields takes a part of a microsecond, and however small they
are each one holds memory. So what is decoded is bounded in bytes for each service and in fields for all of them.
"""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import grpc
from google.protobuf.message import DecodeError

from services.chassis import errors
from services.chassis.byte_budget import ByteBudget, Lease

# The longest that a message may take to arrive, in seconds; as a body in REST.
READ_S = 30.0
# Most messages arrive together with their call. One that has not after so long, in seconds, counts as slow: what has
# come of it is held, and nobody knows how much that is. So only a few may be slow at a time.
PROMPT_S = 1.0
MOST_SLOW = 16
# Fields at the top of a message: as many as a batch has items, a conversation turns and a selection candidates.
MOST_FIELDS = 8192
# When a caller who is refused for being slow should come back, in seconds.
RETRY_AFTER_S = 1.0
# How the wire writes a field, by the lowest three bits of its tag.
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


class Receives(Protocol):
    """What receives the messages of calls, and counts what they hold."""

    def lease(self) -> AbstractContextManager[Lease]:
        """What one call's message holds, given back when the block ends."""

    async def message(self, service: str, context: Any, lease: Lease, *, within_s: float) -> Any:
        """The one message of a call that was admitted, for the handler's deserializer."""


class Receiver:
    """Receives the messages of all calls of a server.

    Args:
        longest: Bytes that a message may have, by the full name of the service it is for.
        held_together: Bytes that the messages of all calls under way may have.
    """

    def __init__(self, longest: Mapping[str, int], held_together: int) -> None:
        self._longest = longest
        self._budget = ByteBudget(held_together)
        self._slow = 0

    @contextmanager
    def lease(self) -> Iterator[Lease]:
        """What one call's message holds, given back when the block ends."""
        with self._budget.lease() as lease:
            yield lease

    async def message(self, service: str, context: Any, lease: Lease, *, within_s: float) -> bytes:
        """The one message of a call that was admitted.

        Args:
            service: Whose it is.
            context: The call's.
            lease: What its bytes are taken from.
            within_s: Seconds until the call's deadline.

        Raises:
            Invalid: there is none.
            TooLarge: it has more bytes or fields than the service takes.
            Exhausted: too much is held, or on its way, at the moment.
            TimedOut: it did not arrive in time.
            DecodeError: it is no message.
        """
        raw = await self._read(context, within_s)
        longest = self._longest[service]
        if len(raw) > longest:
            raise errors.TooLarge(f"the message is longer than {longest // 1024} KiB; send less")
        lease.claim(len(raw), "messages")
        if _has_many_fields(raw):
            raise errors.TooLarge(f"the message has more than {MOST_FIELDS} fields; send fewer")
        return raw

    async def _read(self, context: Any, within_s: float) -> bytes:
        loop = asyncio.get_running_loop()
        slow = refused = False

        def late() -> None:
            nonlocal slow, refused
            if self._slow < MOST_SLOW:
                self._slow, slow = self._slow + 1, True
            else:
                refused = True
                limit.reschedule(loop.time())

        try:
            async with asyncio.timeout(min(READ_S, within_s)) as limit:
                timer = loop.call_later(PROMPT_S, late)
                try:
                    raw = await context.read()
                finally:
                    timer.cancel()
                    self._slow -= slow
        except TimeoutError:
            if refused:
                raise errors.Exhausted(
                    "the message comes slowly, as too many others do; try again", retry_after_s=RETRY_AFTER_S
                ) from None
            raise errors.TimedOut("the message did not arrive in time") from None
        if raw is grpc.aio.EOF:
            raise errors.Invalid("the call has no message; send one")
        return bytes(raw)


def _has_many_fields(raw: bytes) -> bool:
    """Whether a message has more fields than it may; read are only the tags and lengths at its top.

    Raises:
        DecodeError: it has a group, which the contract has none of, or ends within a field.
    """
    # A field has a tag and at least one byte behind it.
    if len(raw) <= 2 * MOST_FIELDS:
        return False
    place = 0
    try:
        for _ in range(MOST_FIELDS):
            if place >= len(raw):
                return False
            tag, place = _varint(raw, place)
            kind = tag & 7
            if kind == _VARINT:
                _, place = _varint(raw, place)
            elif kind == _LENGTH:
                length, place = _varint(raw, place)
                place += length
            elif kind in (_FIXED64, _FIXED32):
                place += 8 if kind == _FIXED64 else 4
            else:
                raise DecodeError("a group")
    except IndexError as error:
        raise DecodeError("ends within a field") from error
    return place < len(raw)


def _varint(raw: bytes, place: int) -> tuple[int, int]:
    """A number of the wire, seven bits a byte, and where the next thing begins."""
    value = shift = 0
    while True:
        byte = raw[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
        if shift >= 70:
            raise DecodeError("a number of more than 64 bits")
