"""Work on long texts leaves the event loop to others."""

import asyncio
import threading

import pytest

from services.chassis import offload


async def test_long_work_waits_beside_the_loop_and_short_work_is_done_at_once() -> None:
    loops = threading.get_ident()
    gate = threading.Event()

    def work() -> int:
        assert gate.wait(60)
        return threading.get_ident()

    long = asyncio.create_task(offload.run(offload.LONG + 1, work))
    assert loops == await offload.run(offload.LONG, threading.get_ident)
    gate.set()

    assert loops != await long


@pytest.mark.parametrize("size", [0, offload.LONG + 1])
async def test_what_goes_wrong_is_raised(size: int) -> None:
    def work() -> None:
        raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        await offload.run(size, work)
