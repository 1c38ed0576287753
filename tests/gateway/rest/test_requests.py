"""Bodies are read within bounds, whether they come whole or in parts."""

import gc
import gzip
import random
import threading
import weakref
from collections.abc import Sequence
from contextlib import suppress

import pytest
from starlette.types import Message, Receive

from services.chassis import errors, json_bounds, offload
from services.chassis.byte_budget import ByteBudget
from services.gateway.rest import content, requests

KIB = 1024
MIB = 1024 * KIB
WIDE = b'{"tools":[' + b"{}," * (14 * MIB // 3) + b"{}]}"
PART = 100 * KIB


class Seen(json_bounds.Count):
    """A count that knows how many bytes it was given, and in which threads."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0
        self.threads: set[int] = set()

    def add(self, piece: bytes) -> None:
        self.bytes += len(piece)
        self.threads.add(threading.get_ident())
        super().add(piece)


def in_parts(body: bytes) -> list[bytes]:
    """A body as a connection gives it."""
    return [body[place : place + PART] for place in range(0, len(body), PART)]


def coming(parts: Sequence[bytes]) -> Receive:
    """What gives a body in parts."""
    left = list(parts)

    async def receive() -> Message:
        part = left.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(left)}

    return receive


@pytest.mark.parametrize("parts", [1, 4])
async def test_a_body_of_feedback_or_an_admin_is_short(parts: int) -> None:
    most = requests.MAX_SHORT_BODY // parts

    assert b"a" * most * parts == await requests.read_short(coming([b"a" * most] * parts))
    with pytest.raises(errors.TooLarge, match="longer than 256 KiB"):
        await requests.read_short(coming([b"a" * (most + 1)] * parts))


@pytest.mark.parametrize("parts", [1, 4])
async def test_the_bytes_of_a_body_are_taken_from_what_all_may_hold(parts: int) -> None:
    budget = ByteBudget(8 * KIB)

    with budget.lease() as first:
        await requests.read(coming([b"a" * KIB] * parts), first)
        assert parts * KIB == budget.held
        with budget.lease() as second, pytest.raises(errors.Exhausted, match="too many bytes"):
            await requests.read(coming([b"a" * (8 * KIB // parts)] * parts), second)
    assert 0 == budget.held


async def test_a_long_body_comes_whole_and_is_counted_beside_the_loop() -> None:
    body = b'{"messages":"' + bytes(range(ord("a"), ord("z"))) * (5 * MIB // 25) + b'"}'
    count = Seen()

    with ByteBudget(requests.MAX_BODY).lease() as lease:
        assert body == await requests.read(coming(in_parts(body)), lease, count=count)
        assert len(body) == lease.held

    # What is left after the last block is counted by whoever parses it.
    assert len(body) - requests.BLOCK < count.bytes <= len(body)
    assert threading.get_ident() not in count.threads


async def test_a_body_with_too_much_in_it_is_read_to_its_end_and_held_no_longer_than_it_takes_to_see_that() -> (
    None
):
    parts = in_parts(WIDE)
    left = coming(parts)
    received = 0

    async def receive() -> Message:
        nonlocal received
        message = await left()
        received += len(message["body"])
        return message

    count = Seen()
    with ByteBudget(requests.MAX_BODY).lease() as lease:
        with pytest.raises(errors.Invalid, match="more than 50000 values"):
            await requests.read(receive, lease, count=count)
        assert 0 == lease.held

    assert len(WIDE) == received
    assert count.bytes <= requests.BLOCK + PART


async def test_a_body_that_is_too_long_is_read_to_its_end_and_not_held() -> None:
    budget = ByteBudget(4 * MIB)
    left = coming([b"a" * MIB] * 5)
    held: list[int] = []

    async def receive() -> Message:
        held.append(budget.held)
        return await left()

    with budget.lease() as lease, pytest.raises(errors.TooLarge, match="longer than 2 MiB"):
        await requests.read(receive, lease, longest=2 * MIB)

    assert [0, MIB, 2 * MIB, 0, 0] == held


async def test_what_was_held_of_a_refused_body_waits_for_no_garbage_collector() -> None:
    gc.disable()
    try:
        count = Seen()
        seen = weakref.ref(count)
        with ByteBudget(requests.MAX_BODY).lease() as lease, suppress(errors.Invalid):
            await requests.read(coming(in_parts(WIDE)), lease, count=count)
        del count
        # The thread has let go of its last work when it does the next.
        await offload.run(offload.LONG + 1, int)

        assert seen() is None
    finally:
        gc.enable()


async def test_a_packed_body_with_too_much_in_it_is_not_unpacked_to_its_end() -> None:
    count = Seen()

    with pytest.raises(errors.Invalid, match="more than 50000 values"):
        await content.unpacked(gzip.compress(WIDE), "gzip", count)

    assert requests.BLOCK == count.bytes


async def test_a_body_that_is_long_once_unpacked_is_unpacked_and_counted_beside_the_loop() -> None:
    body = b'{"messages":"' + rb"\"" * (requests.MAX_BODY // 2 - 8) + b'"}'
    packed = gzip.compress(body)
    count = Seen()

    assert len(packed) <= 16 * KIB
    assert body == await content.unpacked(packed, "gzip", count)
    assert len(body) == count.bytes
    assert threading.get_ident() not in count.threads


async def test_a_body_that_is_short_once_unpacked_waits_for_no_thread() -> None:
    count = Seen()

    await content.unpacked(gzip.compress(b"{}"), "gzip", count)

    assert {threading.get_ident()} == count.threads


@pytest.mark.parametrize(
    ("body", "became"),
    [(b"[" * 3 * MIB, MIB), (b"a" * (requests.MAX_BODY + 1), requests.MAX_BODY + 1)],
    ids=["too deep", "too long"],
)
async def test_how_much_of_a_refused_body_was_unpacked_is_known(body: bytes, became: int) -> None:
    sizes: list[int] = []

    with pytest.raises(errors.Invalid):
        await content.unpacked(gzip.compress(body), "gzip", json_bounds.Count(), grown=sizes.append)

    assert became == sizes[-1]


@pytest.mark.parametrize("size", [0, 1, 3 * MIB, requests.MAX_BODY])
async def test_a_packed_body_is_unpacked_whole(size: int) -> None:
    body = random.Random(size).randbytes(size)

    assert body == await content.unpacked(gzip.compress(body, 1), "gzip")


async def test_a_packed_body_that_is_too_long_or_cut_is_refused() -> None:
    with pytest.raises(errors.TooLarge, match="longer than 16 MiB when unpacked"):
        await content.unpacked(gzip.compress(b"a" * (requests.MAX_BODY + 1)), "gzip")
    with pytest.raises(errors.Invalid, match="ends too early"):
        await content.unpacked(gzip.compress(b"a" * MIB)[:-20], "gzip")
