"""An outage is said once when it begins and once when it ends."""

import asyncio
import logging

import pytest

from services.chassis.outage import Outage

log = logging.getLogger("tests.outage")


async def test_an_outage_is_logged_when_it_begins_and_when_it_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    outage = Outage(log, "Redis does not answer", "Redis answers again")

    with caplog.at_level(logging.INFO, "tests.outage"):
        begun = [outage.begin(TimeoutError("slow")) for _ in range(3)]
        ended = [outage.end() for _ in range(3)]

    assert [True, False, False] == begun
    assert [True, False, False] == ended
    assert ["Redis does not answer: TimeoutError: slow", "Redis answers again"] == caplog.messages


async def test_it_rests_after_each_failure_and_not_before_the_first() -> None:
    outage = Outage(log, "down", "up", pause_s=60)

    def seen() -> tuple[bool, bool]:
        return outage.active, outage.resting

    before = seen()
    outage.begin()
    during = seen()
    outage.end()

    assert [(False, False), (True, True), (False, False)] == [before, during, seen()]


async def test_whoever_waits_for_its_end_goes_on_when_it_ends() -> None:
    outage = Outage(log, "down", "up")
    await outage.over()
    outage.begin()

    waiting = asyncio.create_task(outage.over())
    await asyncio.sleep(0)
    assert not waiting.done()
    outage.end()
    await waiting
