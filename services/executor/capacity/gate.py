"""Leave to call a deployment: its breaker, its limits, a free place; and what each call teaches about its health."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from services.chassis.deployments import Deployment
from services.executor.attempts.retry import RULES
from services.executor.attempts.run import Attempt, Kind, Skip
from services.executor.capacity.breaker import Breakers, State
from services.executor.capacity.quotas import DAY_S, Counter, Headroom, Limit, Places, from_headers, limits_of
from services.executor.engines.outcomes import ErrorClass

# The weight of the newest call in the moving average of the latency.
NEWEST = 0.2


@dataclass(slots=True)
class Standing:
    """How one deployment fares, as this replica sees it."""

    places: Places
    limits: tuple[Limit, ...]
    latency_ms: float = 0.0
    # What the last call that tells says is wrong with it; None when it answered, and before the first one.
    last_error: ErrorClass | None = None
    # When it was last called, on the monotonic clock.
    used_at: float = 0.0
    # When it may be asked again, because its provider said so; on the wall clock.
    rests_until_unix_s: float = 0.0
    headroom: dict[str, Headroom] = field(default_factory=dict)


@dataclass(slots=True)
class _Permit:
    gate: "Gatekeeper"
    deployment: Deployment
    standing: Standing
    probe: bool
    tokens: int
    taken_unix_s: float = 0.0
    queue_ms: float = 0.0

    def release(self, attempt: Attempt, headers: Mapping[str, str], retry_after_s: float | None) -> None:
        self.gate.leave(self, attempt, headers, retry_after_s)


class Gatekeeper:
    """The gate of all deployments."""

    def __init__(
        self,
        breakers: Breakers,
        counter: Counter,
        *,
        queue: int = 32,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._breakers = breakers
        self._counter = counter
        self._queue = queue
        self._clock = clock
        self._standing: dict[str, Standing] = {}
        self._pending: set[asyncio.Task[None]] = set()

    def standing(self, deployment: Deployment) -> Standing:
        """How a deployment fares; a changed configuration changes its limits at once."""
        limits = limits_of(deployment)
        standing = self._standing.get(deployment.id)
        if standing is None:
            standing = Standing(Places(deployment.max_parallel_requests, self._queue), limits)
            self._standing[deployment.id] = standing
        elif standing.limits != limits or standing.places.size != deployment.max_parallel_requests:
            standing.limits = limits
            standing.places.size = deployment.max_parallel_requests
        return standing

    async def enter(self, deployment: Deployment, tokens: int, patience_s: float) -> _Permit | Skip:
        """Ask for leave to call a deployment, waiting at most `patience_s` for a free place."""
        ident = deployment.id
        standing = self.standing(deployment)
        rests_s = standing.rests_until_unix_s - time.time()
        if rests_s > 0:
            return Skip(ident, "rate_limited", rests_s)
        admitted = await self._breakers.admit(ident)
        if admitted is False:
            return Skip(ident, "breaker_open", max(1.0, self._breakers.opens_in_s(ident)))
        standing.used_at = time.monotonic()
        permit = _Permit(self, deployment, standing, probe=admitted is None, tokens=tokens)
        began = self._clock()
        placed = False
        try:
            placed = await standing.places.enter(patience_s)
            if not placed:
                return self._refuse(permit, Skip(ident, "busy", 1.0))
            permit.queue_ms = (self._clock() - began) * 1000
            if standing.limits:
                permit.taken_unix_s = time.time()
                used, forbidden, wait_s = await self._counter.take(ident, standing.limits, tokens)
                self._note(standing, used)
                if forbidden:
                    standing.places.leave()
                    return self._refuse(permit, Skip(ident, "rate_limited", wait_s))
        except BaseException:
            if placed:
                standing.places.leave()
            self._refuse(permit, Skip(ident, "cancelled"))
            raise
        return permit

    def leave(
        self, permit: _Permit, attempt: Attempt, headers: Mapping[str, str], retry_after_s: float | None
    ) -> None:
        """Take back a permit and learn from what became of it."""
        standing, now = permit.standing, time.time()
        standing.places.leave()
        ident = permit.deployment.id
        self._breakers.record(ident, failed=_failed(attempt), probe=permit.probe)
        if attempt.error is None or _failed(attempt) or attempt.error is ErrorClass.NOT_FOUND:
            standing.last_error = attempt.error
        if attempt.kind is Kind.FINAL:
            took = attempt.first_chunk_ms or attempt.duration_ms
            known = standing.latency_ms
            standing.latency_ms = known + NEWEST * (took - known) if known else took
        for told in from_headers(headers, now):
            standing.headroom[told.limit] = told
            if told.remaining == 0:
                standing.rests_until_unix_s = max(standing.rests_until_unix_s, told.resets_unix_s)
        if attempt.error is ErrorClass.RATE_LIMIT and retry_after_s:
            standing.rests_until_unix_s = max(standing.rests_until_unix_s, now + min(retry_after_s, DAY_S))
        spare = attempt.usage.prompt_tokens + attempt.usage.completion_tokens - permit.tokens
        if spare and any(limit.of_tokens for limit in standing.limits):
            self._later(self._counter.add_tokens(ident, standing.limits, spare, permit.taken_unix_s))

    def state(self, ident: str) -> State:
        """The breaker's state."""
        return self._breakers.state(ident)

    def error_rate(self, ident: str) -> float:
        """The share of failed attempts in the breaker's window."""
        return self._breakers.error_rate(ident)

    async def settle(self) -> None:
        """Wait until everything that was counted has been told."""
        while self._pending:
            await asyncio.gather(*self._pending)
        await self._breakers.settle()

    def _refuse(self, permit: _Permit, skip: Skip) -> Skip:
        if permit.probe:
            self._breakers.record(permit.deployment.id, failed=None, probe=True)
        return skip

    def _note(self, standing: Standing, used: list[int]) -> None:
        now = time.time()
        for limit, count in zip(standing.limits, used, strict=True):
            told = standing.headroom.get(limit.name)
            if told is not None and told.by_provider and told.resets_unix_s > now:
                continue
            _, ends = limit.window(now)
            standing.headroom[limit.name] = Headroom(
                limit.name, limit.total, max(0, limit.total - count), ends
            )

    def _later(self, telling: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(telling)
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)


def _failed(attempt: Attempt) -> bool | None:
    """Whether an attempt counts against the breaker; None when it tells nothing, as a caller's mistake."""
    if attempt.error is None:
        return False
    return True if RULES[attempt.error].trips else None
