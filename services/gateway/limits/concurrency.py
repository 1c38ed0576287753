"""The requests that this process works on at once: shared fairly, and refused early when there are too many.

It stands behind authentication and before everything that costs: reading and parsing the body, classification,
selection, Redis. What it refuses has cost a look at a key. Whoever is refused because it has its share
learns so a little later, as it would send again at once.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import prometheus_client

from services.chassis import errors, measuring
from services.chassis.background import beside
from services.gateway.keys.permissions import Caller
from services.gateway.limits.adaptive_limit import LEAST, AdaptiveLimit
from services.gateway.limits.fair_share import FairShare, State, Ticket
from services.gateway.limits.held_refusals import HOLD_S, HeldRefusals
from services.gateway.limits.patience import USUAL, Patience
from services.gateway.limits.refusal import REFUSALS

# When refused callers should come back, in seconds.
RETRY_S = 1.0
# Too much runs when an empty round trip to the executor takes longer than this, in seconds: it waits among the work of
# all requests, there and here, as each of their steps does. How long providers take does not count.
ROUND_TRIP_S = 0.05
# Too much of one tenant's runs when the event loop uses more CPU than this meanwhile, in seconds: others wait behind it
# at each of their steps, some ten. What other programs take from the machine distorts this less than elapsed time.
WORK_S = 0.005
# A round trip that takes long beside a loop that is mostly idle waits for the network or the executor: so much of it
# must be work of the loop.
BUSY_SHARE = 0.25
# Seconds between two round trips that show how busy the executor and this process are.
PROBE_EVERY_S = 0.05

LIMIT = prometheus_client.Gauge(
    "lumni_gateway_concurrency_limit",
    "Requests that may run at once at the moment.",
    multiprocess_mode="livesum",
)
RUNNING = prometheus_client.Gauge(
    "lumni_gateway_concurrency_running", "Requests that run.", multiprocess_mode="livesum"
)
WAITING = prometheus_client.Gauge(
    "lumni_gateway_concurrency_waiting", "Requests that wait for a slot.", multiprocess_mode="livesum"
)
ROUND_TRIP = prometheus_client.Histogram(
    "lumni_gateway_executor_round_trip_seconds",
    "Time of a call of the executor that does nothing, while many requests run.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)


class ConcurrencyLimiter:
    """Gives each request of a caller a slot while it runs."""

    def __init__(self, most: int, *, patience: Patience = USUAL, hold_s: float = HOLD_S) -> None:
        """Begin with all slots free.

        Args:
            most: How many requests run at once at the most; as many wait.
            patience: How long they wait.
            hold_s: How long a refusal of a tenant that has its share is held, in seconds.
        """
        self._shares = FairShare(most, patience)
        self._of_all, self._of_one = AdaptiveLimit(most), AdaptiveLimit(most)
        self._shares.limit, self._shares.limit_of_one = self._of_all.limit, self._of_one.limit
        # Over gRPC their messages take memory, of which all messages have a bound.
        self._held = HeldRefusals(most, hold_s)
        measuring.follow(LIMIT, lambda: self._shares.limit)
        measuring.follow(RUNNING, lambda: self._shares.running)
        measuring.follow(WAITING, lambda: self._shares.waiting)

    @asynccontextmanager
    async def slot(self, caller: Caller) -> AsyncIterator[None]:
        """Hold a slot until the block ends.

        Raises:
            Exhausted: there is none, and the caller's tenant has its share.
            Unavailable: there is none, though the tenant has less than its share.
        """
        ticket = await self._enter(caller)
        try:
            yield
        finally:
            self._shares.leave(ticket)

    async def refusal(self, caller: Caller) -> errors.Fault | None:
        """The refusal that one more request of a caller would meet, counted, held as that one; None says nothing."""
        return await self._late(caller) if self._shares.refuses(caller.tenant, time.monotonic()) else None

    @asynccontextmanager
    async def adapting(self, call: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
        """Adapt the limit until the block ends, by an empty `call` of the executor that does not raise."""
        async with beside(self._adapt(call)):
            yield

    async def _enter(self, caller: Caller) -> Ticket:
        decided = asyncio.Event()
        now = time.monotonic()
        ticket = self._shares.enter(caller.tenant, caller.plan.concurrency_weight, now, decided.set)
        if ticket is None:
            raise await self._late(caller)
        if ticket.state is State.WAITING:
            try:
                async with asyncio.timeout(ticket.until - now):
                    await decided.wait()
            except TimeoutError:
                self._shares.leave(ticket)
                raise self._refusal(caller) from None
            except BaseException:
                self._shares.leave(ticket)
                raise
        if ticket.state is State.OVER:
            # Its place in the queue was taken, perhaps at once.
            raise await self._late(caller)
        return ticket

    async def _adapt(self, call: Callable[[], Awaitable[object]]) -> None:
        while True:
            await asyncio.sleep(PROBE_EVERY_S)
            shares = self._shares
            if shares.running < LEAST:
                # That is far from any limit, so an idle gateway asks nobody.
                shares.limit = self._of_all.rest(shares.running)
                shares.limit_of_one = self._of_one.rest(shares.largest())
                continue
            began, worked = time.monotonic(), time.thread_time()
            await call()
            now = time.monotonic()
            took, worked = now - began, time.thread_time() - worked
            ROUND_TRIP.observe(took)
            shares.limit = self._of_all.observe(took / ROUND_TRIP_S, shares.running)
            # A lone tenant delays nobody else.
            excess = worked / WORK_S if shares.is_shared(now) and worked >= took * BUSY_SHARE else 0
            shares.limit_of_one = self._of_one.observe(excess, shares.largest())

    async def _late(self, caller: Caller) -> errors.Fault:
        """A refusal, held if the caller's tenant has its share."""
        refusal = self._refusal(caller)
        if isinstance(refusal, errors.Exhausted):
            await self._held.hold()
        return refusal

    def _refusal(self, caller: Caller) -> errors.Fault:
        REFUSALS.labels("overload", "OVERLOADED", "here").inc()
        if self._shares.is_at_share(caller.tenant):
            return errors.Exhausted(
                f"the gateway is at its capacity, and {caller.tenant.replace(':', ' ')} has its share of it under way; "
                f"try again in {RETRY_S:g} s, or send fewer requests at once",
                reason="OVERLOADED",
                retry_after_s=RETRY_S,
                metadata={"limit": "concurrency", "scope": "overload"},
            )
        return errors.Unavailable(
            f"the gateway is at its capacity; try again in {RETRY_S:g} s",
            reason="OVERLOADED",
            retry_after_s=RETRY_S,
        )
