"""One circuit breaker per deployment: closed, open, half-open with one probe at a time.

It opens when, within a sliding window, more attempts failed than allowed and at least a given share of all did: the
count keeps one hiccup from closing a quiet deployment off, the share keeps a handful among thousands from it. The
count and the state are shared by all replicas in a store; while that cannot be reached each replica uses its own.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

log = logging.getLogger(__name__)

BUCKETS = 10


class BreakerState(StrEnum):
    """Whether calls pass."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When a breaker opens and for how long: `allowed_fails` and `cooldown_time` of LiteLLM, and a share."""

    allowed_fails: int = 3
    share: float = 0.5
    window_s: float = 60.0
    cooldown_s: float = 30.0
    # A probe without a result for so long is given up, so that another may be sent.
    probe_s: float = 60.0


class BreakerStore(Protocol):
    """What the replicas share. Every answer is None when it cannot be reached."""

    async def add_failure(self, ident: str, window_s: float) -> int | None:
        """Count a failure; returns how many there are in the window, over all replicas."""

    async def open(self, ident: str, cooldown_s: float) -> None:
        """Publish that a breaker is open for so long; ends a probe."""

    async def close(self, ident: str) -> None:
        """Publish that a breaker is closed, and forget its failures; ends a probe."""

    async def claim_probe(self, ident: str, probe_s: float) -> bool | None:
        """Claim the probe, for so long; false while another replica has it, or has opened the breaker since."""

    async def release_probe(self, ident: str) -> None:
        """Let another replica probe: ours had no result."""

    async def read(self) -> Mapping[str, float] | None:
        """The breakers that are not closed, each with the seconds until it may be probed (0 or less: now)."""


class Window:
    """Successes and failures of the last while, in buckets."""

    def __init__(self, window_s: float, clock: Callable[[], float]) -> None:
        self._width_s = window_s / BUCKETS
        self._clock = clock
        self._counts: dict[int, list[int]] = {}

    def add(self, *, failed: bool) -> None:
        """Count one attempt."""
        now = int(self._clock() // self._width_s)
        self._counts.setdefault(now, [0, 0])[failed] += 1
        if len(self._counts) > BUCKETS:
            self._counts = {at: counts for at, counts in self._counts.items() if at > now - BUCKETS}

    def totals(self) -> tuple[int, int]:
        """Successes and failures within the window."""
        oldest = int(self._clock() // self._width_s) - BUCKETS
        live = [counts for at, counts in self._counts.items() if at > oldest]
        return sum(counts[0] for counts in live), sum(counts[1] for counts in live)

    def clear(self) -> None:
        """Forget all."""
        self._counts.clear()


@dataclass(slots=True)
class _Breaker:
    window: Window
    # When it may be probed, on the local clock; None while closed.
    probe_from: float | None = None
    # Until when a probe of ours may still have a result, on the local clock.
    probing_until: float = 0.0
    pending: set[asyncio.Task[None]] = field(default_factory=set)


class Breakers:
    """The breakers of all deployments."""

    def __init__(
        self,
        store: BreakerStore,
        thresholds: Callable[[], Thresholds],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        # Read each time: the configuration may change.
        self._thresholds = thresholds
        self._clock = clock
        self._known: dict[str, _Breaker] = {}

    def state(self, ident: str) -> BreakerState:
        """Whether calls of a deployment pass."""
        breaker = self._known.get(ident)
        if breaker is None or breaker.probe_from is None:
            return BreakerState.CLOSED
        return BreakerState.HALF_OPEN if self._clock() >= breaker.probe_from else BreakerState.OPEN

    def error_rate(self, ident: str) -> float:
        """The share of failures in the window, 0 to 1."""
        breaker = self._known.get(ident)
        if breaker is None:
            return 0.0
        successes, failures = breaker.window.totals()
        return failures / (successes + failures) if failures else 0.0

    def opens_in_s(self, ident: str) -> float:
        """Seconds until it may be probed."""
        probe_from = self._of(ident).probe_from
        return max(0.0, probe_from - self._clock()) if probe_from is not None else 0.0

    async def admit(self, ident: str) -> BreakerState:
        """Decide on one call: closed lets it pass, half-open lets it pass as the one probe, open does not."""
        state = self.state(ident)
        if state is BreakerState.CLOSED:
            return state
        breaker = self._of(ident)
        if state is BreakerState.OPEN or self._clock() < breaker.probing_until:
            return BreakerState.OPEN
        probe_s = self._thresholds().probe_s
        breaker.probing_until = self._clock() + probe_s
        try:
            claimed = await self._store.claim_probe(ident, probe_s)
        except BaseException:
            self.record(ident, failed=None, probe=True)
            raise
        if claimed is False:
            breaker.probing_until = 0.0
            return BreakerState.OPEN
        log.info("circuit breaker of %s is half-open: probing", ident)
        return BreakerState.HALF_OPEN

    def record(self, ident: str, *, failed: bool | None, probe: bool) -> None:
        """Count an attempt, once: failed, not failed, or None when that is no sign of the deployment's health."""
        breaker = self._of(ident)
        if failed is not None:
            breaker.window.add(failed=failed)
        if probe:
            breaker.probing_until = 0.0
        if probe and failed is None:
            self._later(breaker, self._store.release_probe(ident))
        elif probe and not failed:
            self._close(ident, breaker)
        elif failed and breaker.probe_from is None:
            # Also a probe that was given up: another one has closed the breaker since.
            self._later(breaker, self._judge(ident, breaker))
        elif probe:
            self._open(ident, breaker, "the probe failed")

    async def sync(self) -> None:
        """Take over what other replicas found."""
        shared = await self._store.read()
        if shared is None:
            return
        for ident, wait_s in shared.items():
            breaker = self._of(ident)
            # Another replica's probe may have failed meanwhile.
            breaker.probe_from = max(breaker.probe_from or 0.0, self._clock() + wait_s)
        for ident, breaker in self._known.items():
            if breaker.probe_from is not None and ident not in shared and not breaker.pending:
                breaker.probe_from = None
                breaker.window.clear()

    async def settle(self) -> None:
        """Wait until all that was recorded is in the store."""
        while tasks := [task for breaker in self._known.values() for task in breaker.pending]:
            await asyncio.gather(*tasks)

    def _of(self, ident: str) -> _Breaker:
        breaker = self._known.get(ident)
        if breaker is None:
            breaker = _Breaker(Window(self._thresholds().window_s, self._clock))
            self._known[ident] = breaker
        return breaker

    async def _judge(self, ident: str, breaker: _Breaker) -> None:
        thresholds = self._thresholds()
        successes, failures = breaker.window.totals()
        shared = await self._store.add_failure(ident, thresholds.window_s)
        counted = failures if shared is None else max(shared, failures)
        share = failures / (successes + failures) if failures else 0.0
        if breaker.probe_from is None and counted > thresholds.allowed_fails and share >= thresholds.share:
            self._open(ident, breaker, f"{counted} failures in {thresholds.window_s:g} s")

    def _open(self, ident: str, breaker: _Breaker, why: str) -> None:
        cooldown_s = self._thresholds().cooldown_s
        breaker.probe_from = self._clock() + cooldown_s
        log.warning("circuit breaker of %s is open for %g s: %s", ident, cooldown_s, why)
        self._later(breaker, self._store.open(ident, cooldown_s))

    def _close(self, ident: str, breaker: _Breaker) -> None:
        if breaker.probe_from is not None:
            breaker.probe_from = None
            log.warning("circuit breaker of %s is closed: the probe succeeded", ident)
        breaker.window.clear()
        self._later(breaker, self._store.close(ident))

    def _later(self, breaker: _Breaker, publishing: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(publishing)
        breaker.pending.add(task)
        task.add_done_callback(breaker.pending.discard)
