"""Watches for what operators should know, from what the ledger sees anyway: events, its own lag, the deployments."""

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lumni.executor.v1 import executor_pb2

from services.chassis import breaker_majority, published_health, redis
from services.gateway.alerts import judge
from services.gateway.alerts.breaker_history import BreakerHistory
from services.gateway.alerts.judge import Facts
from services.gateway.alerts.messenger import Messenger
from services.gateway.alerts.recent_requests import RecentRequests
from services.gateway.config.alerts import Thresholds
from services.gateway.config.live import Live
from services.gateway.keys.permissions import MIRROR
from services.gateway.ledger.recent_spending import SpendingWatch
from services.gateway.ledger.rows import USAGE_COLUMNS, Ended, Kind

log = logging.getLogger(__name__)

# Errors of the executor that a caller can mend, and that of a caller who left.
CALLERS = frozenset(
    ("bad_request", "unsupported", "context_length", "content_policy", "too_large", "cancelled")
)
KIND, ERROR, TOOK, DEPLOYMENT, KEY = (
    USAGE_COLUMNS.index(name) for name in ("kind", "error_class", "duration_ms", "deployment", "key_id")
)


@dataclass(frozen=True, slots=True)
class LedgerFacts:
    """What the ledger process knows of itself, and reads for other purposes anyway.

    Args:
        keys_expiring: How many virtual keys expire within a week.
        pool_share: The share of the connections to PostgreSQL that is in use, 0 to 1.
        spending: Knows what was spent of late.

    """

    keys_expiring: Callable[[], int] = lambda: 0
    pool_share: Callable[[], float] = lambda: 0.0
    spending: SpendingWatch | None = None


class AlertWatch:
    """Judges every few seconds and has told what has changed."""

    def __init__(
        self,
        client: redis.Redis,
        messenger: Messenger,
        thresholds: Live[Thresholds],
        providers: Live[Mapping[str, str]],
        own: LedgerFacts,
    ) -> None:
        """Watch.

        Args:
            client: Where the executors publish the deployments' health.
            messenger: Tells.
            thresholds: How often to look, and from where on each alert fires.
            providers: The provider of each deployment, by its id.
            own: What this process knows of itself.
        """
        self._redis = client
        self._messenger = messenger
        self._thresholds = thresholds
        self._own = own
        self._recent = RecentRequests(thresholds.current.window_s)
        self._breakers = BreakerHistory(providers.current)
        thresholds.on_change(lambda changed: self._recent.resize(changed.window_s))
        providers.on_change(self._breakers.name_providers)
        # When events were set aside, and since when the pool is full in every look, on the monotonic clock.
        self._poison: deque[float] = deque(maxlen=1000)
        self._full_since: float | None = None

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
                await self._messenger.tell(judge.firing(facts, self._thresholds.current))
            except Exception:
                # Nothing that goes wrong in here may keep usage from being written.
                log.exception("watching for alerts failed")
            await asyncio.sleep(self._thresholds.current.every_s)

    async def _facts(self, behind_s: float) -> Facts:
        limits = self._thresholds.current
        await self._look_at_breakers()
        now = time.monotonic()
        while self._poison and self._poison[0] < now - limits.window_s:
            self._poison.popleft()
        return Facts(
            shares=self._recent.shares(now),
            down=self._breakers.down(now, limits.deployment_down_s),
            providers_down=self._breakers.providers_down(now, limits.deployment_down_s),
            flapping=self._breakers.flapping(now, limits.flapping_window_s, limits.flapping_changes),
            keys_expiring=self._own.keys_expiring(),
            pool_share=self._pool_share(now),
            ledger_behind_s=behind_s,
            poison=len(self._poison),
            spending=self._own.spending.latest if self._own.spending else None,
        )

    async def _look_at_breakers(self) -> None:
        """See whether they are open; while Redis is down nothing new is known."""
        try:
            views = await published_health.read(self._redis)
        except redis.ERRORS:
            return
        if views:
            self._breakers.look(_open(views), time.monotonic())

    def _pool_share(self, now: float) -> float:
        """The share of the pool that is in use, when it has been too much for long, else 0."""
        share = self._own.pool_share()
        limits = self._thresholds.current
        if share <= limits.pool_share:
            self._full_since = None
            return 0.0
        self._full_since = now if self._full_since is None else self._full_since
        return share if now - self._full_since >= limits.pool_full_s else 0.0


def _open(views: Sequence[Sequence[executor_pb2.DeploymentHealth]]) -> dict[str, bool]:
    """Whether the breaker of each deployment is not closed at most of the executors that can call it.

    Half-open is not yet well.
    """
    seen: Counter[str] = Counter()
    not_closed: Counter[str] = Counter()
    for view in views:
        for one in view:
            seen[one.deployment] += one.callable
            not_closed[one.deployment] += one.callable and one.breaker > executor_pb2.BREAKER_STATE_CLOSED
    return {
        ident: breaker_majority.is_open([True] * not_closed[ident] + [False] * (count - not_closed[ident]))
        for ident, count in seen.items()
        if count
    }


def _failed(one: Ended) -> bool | None:
    """Whether an attempt failed for a reason of ours or the provider's.

    None when it tells nothing of either: its caller left or must mend it, the answer is from the cache, or it is a
    mirror's, which no caller sees.
    """
    kind = one.row[KIND]
    if kind == Kind.CACHED or one.row[ERROR] in CALLERS or one.row[KEY].startswith(MIRROR):
        return None
    return bool(kind != Kind.FINAL)
