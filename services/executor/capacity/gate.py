"""The permission to call a deployment: its breaker, its quotas, a free slot; and what each call shows of its health."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from services.chassis.deployments import Deployment
from services.executor.attempts.model import Attempt, AttemptState, Skip
from services.executor.attempts.retry import RULES
from services.executor.capacity import quota_headers
from services.executor.capacity.breaker import Breakers, BreakerState
from services.executor.capacity.quotas import Headroom, Quota, QuotaCounter, quotas_of
from services.executor.capacity.slots import ParallelSlots
from services.executor.engines.outcomes import ErrorClass

# The weight of the newest call in the moving average of the latency.
NEWEST = 0.2


@dataclass(slots=True)
class DeploymentState:
    """How one deployment fares, as this replica sees it."""

    slots: ParallelSlots
    quotas: tuple[Quota, ...]
    latency_ms: float = 0.0
    # What the last conclusive call found wrong with it; None when it answered, and before the first one.
    last_error: ErrorClass | None = None
    # When it was last called, on the monotonic clock.
    used_at: float = 0.0
    # Until when it is not called, because its provider wants that; on the wall clock.
    paused_until_unix_s: float = 0.0
    headroom: dict[str, Headroom] = field(default_factory=dict)

    def pause(self, until_unix_s: float) -> None:
        """Do not call it before then."""
        self.paused_until_unix_s = max(self.paused_until_unix_s, until_unix_s)

    def note_used(self, used: Sequence[int], now_unix_s: float) -> None:
        """Note what is used of each quota, unless its provider named what remains."""
        for quota, count in zip(self.quotas, used, strict=True):
            known = self.headroom.get(quota.name)
            if known is not None and known.by_provider and known.resets_unix_s > now_unix_s:
                continue
            _, ends = quota.window(now_unix_s)
            self.headroom[quota.name] = Headroom(quota.name, quota.total, max(0, quota.total - count), ends)

    def note_latency(self, took_ms: float) -> None:
        """Add a call to the moving average."""
        known = self.latency_ms
        self.latency_ms = known + NEWEST * (took_ms - known) if known else took_ms


@dataclass(slots=True)
class _Permit:
    gate: "CapacityGate"
    deployment: Deployment
    state: DeploymentState
    probe: bool
    tokens: int
    taken_unix_s: float = 0.0
    queue_ms: float = 0.0

    def release(self, attempt: Attempt, headers: Mapping[str, str], retry_after_s: float | None) -> None:
        self.gate.released(self, attempt, headers, retry_after_s)


class CapacityGate:
    """The gate of all deployments.

    Args:
        breakers: Their circuit breakers.
        counter: Counts what is used of their quotas.
        queue: How many calls may be queued for a slot, per deployment.
        clock: The monotonic clock.

    """

    def __init__(
        self,
        breakers: Breakers,
        counter: QuotaCounter,
        *,
        queue: int = 32,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._breakers = breakers
        self._counter = counter
        self._queue = queue
        self._clock = clock
        self._states: dict[str, DeploymentState] = {}
        self._pending: set[asyncio.Task[None]] = set()

    def state(self, deployment: Deployment) -> DeploymentState:
        """How a deployment fares; a changed configuration changes its quotas at once."""
        quotas = quotas_of(deployment)
        state = self._states.get(deployment.id)
        if state is None:
            state = DeploymentState(ParallelSlots(deployment.max_parallel_requests, self._queue), quotas)
            self._states[deployment.id] = state
        elif state.quotas != quotas or state.slots.size != deployment.max_parallel_requests:
            state.quotas = quotas
            state.slots.size = deployment.max_parallel_requests
        return state

    def breaker(self, ident: str) -> BreakerState:
        """Whether calls of a deployment pass its breaker."""
        return self._breakers.state(ident)

    def error_rate(self, ident: str) -> float:
        """The share of failed attempts in the breaker's window."""
        return self._breakers.error_rate(ident)

    def rests_until_unix_s(self, deployment: Deployment) -> float:
        """When a deployment may be called again, on the wall clock; 0 when it may be called now."""
        now = time.time()
        waits_s = (self.state(deployment).paused_until_unix_s - now, self._breakers.opens_in_s(deployment.id))
        return now + max(waits_s) if max(waits_s) > 0 else 0.0

    async def acquire(self, deployment: Deployment, tokens: int, max_wait_s: float) -> _Permit | Skip:
        """Get the permission to call a deployment with about so many tokens, queued at most `max_wait_s` for it."""
        ident = deployment.id
        state = self.state(deployment)
        paused_s = state.paused_until_unix_s - time.time()
        if paused_s > 0:
            return Skip(ident, "rate_limited", paused_s)
        breaker = await self._breakers.admit(ident)
        if breaker is BreakerState.OPEN:
            return Skip(ident, "breaker_open", max(1.0, self._breakers.opens_in_s(ident)))
        state.used_at = time.monotonic()
        permit = _Permit(self, deployment, state, probe=breaker is BreakerState.HALF_OPEN, tokens=tokens)
        skip: Skip | None = Skip(ident, "cancelled")
        try:
            skip = await self._take(permit, max_wait_s)
        finally:
            if skip is not None and permit.probe:
                self._breakers.record(ident, failed=None, probe=True)
        return skip or permit

    async def _take(self, permit: _Permit, max_wait_s: float) -> Skip | None:
        """Take a slot and a part of the quotas; None when both were to be had."""
        ident, state = permit.deployment.id, permit.state
        began = self._clock()
        if not await state.slots.acquire(max_wait_s):
            return Skip(ident, "busy", 1.0)
        permit.queue_ms = (self._clock() - began) * 1000
        if not state.quotas:
            return None
        permit.taken_unix_s = time.time()
        try:
            take = await self._counter.take(ident, state.quotas, permit.tokens)
            state.note_used(take.used, time.time())
        except BaseException:
            state.slots.release()
            raise
        if take.exceeded is None:
            return None
        state.slots.release()
        return Skip(ident, "rate_limited", take.wait_s)

    def released(
        self, permit: _Permit, attempt: Attempt, headers: Mapping[str, str], retry_after_s: float | None
    ) -> None:
        """Take back a permit and learn from what became of it."""
        state, now = permit.state, time.time()
        state.slots.release()
        ident = permit.deployment.id
        failed = _failed(attempt)
        self._breakers.record(ident, failed=failed, probe=permit.probe)
        if failed is not None or attempt.error is ErrorClass.NOT_FOUND:
            state.last_error = attempt.error
        if attempt.state is AttemptState.FINAL:
            state.note_latency(attempt.first_chunk_ms or attempt.duration_ms)
        for headroom in quota_headers.headroom(headers, now):
            state.headroom[headroom.quota] = headroom
            if headroom.remaining == 0:
                state.pause(headroom.resets_unix_s)
        if attempt.error is ErrorClass.RATE_LIMIT and retry_after_s:
            state.pause(now + min(retry_after_s, quota_headers.DAY_S))
        excess = attempt.usage.prompt_tokens + attempt.usage.completion_tokens - permit.tokens
        if excess and any(quota.counts_tokens for quota in state.quotas):
            self._later(self._counter.add_tokens(ident, state.quotas, excess, permit.taken_unix_s))

    async def settle(self) -> None:
        """Wait until everything that was counted is shared."""
        while self._pending:
            await asyncio.gather(*self._pending)
        await self._breakers.settle()

    def _later(self, counting: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(counting)
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)


def _failed(attempt: Attempt) -> bool | None:
    """Whether an attempt counts against the breaker; None when it is no sign of its health, as a caller's mistake."""
    if attempt.error is None:
        return False
    return True if RULES[attempt.error].trips else None
