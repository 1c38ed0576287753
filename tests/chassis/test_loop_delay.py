"""The delay of the event loop is what blocks it."""

import asyncio
import time

import pytest
from prometheus_client import REGISTRY

from services.chassis import loop_delay
from services.chassis.background import beside


async def test_what_blocks_the_loop_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_delay, "EVERY_S", 0.01)

    def total() -> float:
        return REGISTRY.get_sample_value("lumni_event_loop_delay_seconds_sum") or 0.0

    before = total()
    async with beside(loop_delay.measure()):
        # It has begun to wait.
        await asyncio.sleep(0)
        time.sleep(0.2)  # noqa: ASYNC251  (that is the point)
        async with asyncio.timeout(60):
            while total() - before < 0.15:
                await asyncio.sleep(0.01)
