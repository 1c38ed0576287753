"""Work beside other work: neither outlives the other."""

import asyncio

import pytest

from services.chassis.background import beside


async def test_a_part_that_dies_ends_what_it_stands_beside(caplog: pytest.LogCaptureFixture) -> None:
    async def dies() -> None:
        raise ZeroDivisionError("the part's own")

    with pytest.raises(ZeroDivisionError, match="the part's own"):
        async with asyncio.timeout(60), beside(dies()):
            await asyncio.Event().wait()
    assert "died" in caplog.text


async def test_a_part_ends_with_what_it_stands_beside() -> None:
    ended = asyncio.Event()

    async def runs() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with beside(runs()):
        await asyncio.sleep(0)
    assert ended.is_set()
