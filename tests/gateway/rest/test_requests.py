"""Bodies are read within bounds, whether they come whole or in parts."""

from collections.abc import Sequence

import pytest
from starlette.types import Message, Receive

from services.chassis import errors
from services.chassis.byte_budget import ByteBudget
from services.gateway.rest import requests

KIB = 1024


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
