"""How late the event loop is: what runs too long in it delays every request of the process."""

import asyncio
import time

import prometheus_client

# Seconds between two measurements.
EVERY_S = 0.25

DELAY = prometheus_client.Histogram(
    "lumni_event_loop_delay_seconds",
    "How much later than it should the event loop went on with a task.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)


async def measure() -> None:
    """Measure until cancelled."""
    while True:
        due = time.monotonic() + EVERY_S
        await asyncio.sleep(EVERY_S)
        DELAY.observe(max(0.0, time.monotonic() - due))
