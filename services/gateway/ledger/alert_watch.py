"""Watches for what operators should know, from what the ledger sees anyway: events, its own lag, the deployments."""

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence

from lumni.executor.v1 import executor_pb2

from services.chassis import breakers, published_health, redis
from services.gateway.alerts import judge
from services.gateway.alerts.judge import Facts
from services.gateway.alerts.messenger import Messenger
from services.gateway.alerts.recent_requests import RecentRequests
from services.gateway.config.alerts import Thresholds
from services.gateway.ledger.rows import USAGE_COLUMNS, Ended, Kind
from services.gateway.ledger.spending import SpendingWatch

log = logging.getLogger(__name__)

# Errors of the executor that a caller can mend, and that of a caller who left.
CALLERS = frozenset(
    ("bad_request", "unsupported", "context_length", "content_policy", "too_large", "cancelled")
)
KIND, ERROR, TOOK, DEPLOYMENT = (
    USAGE_COLUMNS.index(name) for name in ("kind", "error_class", "duration_ms", "deployment")
)


class AlertWatch:
    """Judges every few seconds and has told what has changed."""

    def __init__(
        self,
        client: redis.Redis,
        messenger: Messenger,
        thresholds: Thresholds,
        spending: SpendingWatch | None = None,
    ) -> None:
        """Watch.

        Args:
            client: Where the executors publish the deployments' health.
            messenger: Tells.
            thresholds: How often to look, and from where on each alert fires.
            spending: Knows what was spent of late; None where there is no budget.
        """
        self._redis = client
        self._messenger = messenger
        self._thresholds = thresholds
        self._spending = spending
        self._recent = RecentRequests(thresholds.window_s)
        # When events were set aside, and since when each breaker is open, on the monotonic clock.
        self._poison: deque[float] = deque(maxlen=1000)
        self._open_since: dict[str, float] = {}

    def ended(self, batch: Sequence[Ended]) -> None:
        """Note attempts that were written."""
        now = time.monotonic()
        for one in batch:
            if (failed := _failed(one)) is not None:
                self._recent.add(
                    one.request_id, one.row[DEPLOYMENT], one.row[TOOK] / 1000, now, failed=failed
                )

    def set_aside(self, count: int) -> None:
        """Note events that could not be written."""
        self._poison.extend([time.monotonic()] * min(count, 1000))

    async def run(self, behind_s: Callable[[], float]) -> None:
        """Watch until cancelled; `behind_s` is how far the ledger is behind, as it was last measured."""
        while True:
            try:
                facts = await self._facts(behind_s())
                await self._messenger.tell(judge.firing(facts, self._thresholds))
            except Exception:
                # Nothing that goes wrong in here may keep usage from being written.
                log.exception("watching for alerts failed")
            await asyncio.sleep(self._thresholds.every_s)

    async def _facts(self, behind_s: float) -> Facts:
        now = time.monotonic()
        while self._poison and self._poison[0] < now - self._thresholds.window_s:
            self._poison.popleft()
        return Facts(
            shares=self._recent.shares(now),
            down=await self._down(now),
            ledger_behind_s=behind_s,
            poison=len(self._poison),
            spending=self._spending.latest if self._spending else None,
        )

    async def _down(self, now: float) -> list[str]:
        """The deployments whose breaker has been open for long; while Redis is down, as it was last read."""
        try:
            views = await published_health.read(self._redis)
        except redis.ERRORS:
            views = []
        if views:
            is_open = _open(views)
            self._open_since = {ident: self._open_since.get(ident, now) for ident in is_open}
        longest = self._thresholds.deployment_down_s
        return [ident for ident, since in self._open_since.items() if now - since >= longest]


def _open(views: Sequence[Sequence[executor_pb2.DeploymentHealth]]) -> list[str]:
    """The deployments whose breaker is not closed at most executors; half-open is not yet well."""
    seen: Counter[str] = Counter()
    not_closed: Counter[str] = Counter()
    for view in views:
        for one in view:
            seen[one.deployment] += one.callable
            not_closed[one.deployment] += one.callable and one.breaker > executor_pb2.BREAKER_STATE_CLOSED
    return [
        ident
        for ident, count in seen.items()
        if breakers.is_open([True] * not_closed[ident] + [False] * (count - not_closed[ident]))
    ]


def _failed(one: Ended) -> bool | None:
    """Whether an attempt failed for a reason of ours or the provider's.

    None when it tells nothing of either: its caller left or must mend it, or the answer is from the cache.
    """
    kind = one.row[KIND]
    if kind == Kind.CACHED or one.row[ERROR] in CALLERS:
        return None
    return bool(kind != Kind.FINAL)
