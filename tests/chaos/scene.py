"""What one drill works with: the cluster, the traffic, and what of the traffic may fail."""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from tests.chaos.cluster import HostedCluster
from tests.chaos.traffic import Ended, Traffic

CUT_OR_UNAVAILABLE = frozenset((200, 503))
# An answer that did not reach its caller is billed all the same.
ANY_KIND = frozenset(("final", "partial", "unknown", "failed"))


@dataclass(frozen=True, slots=True)
class Excuse:
    """Why requests that were under way within a time must fail.

    Args:
        why: For the report.
        since: By the monotonic clock, in seconds.
        until: The same; until then no answer could come.
        statuses: Of the answers that callers may get: 200 is a stream that ends with an error, 0 no answer.
        kinds: Of the row that the ledger may have of such a request; one that reached no provider has none.
    """

    why: str
    since: float
    until: float
    statuses: frozenset[int] = CUT_OR_UNAVAILABLE
    kinds: frozenset[str] = ANY_KIND

    def covers(self, ended: Ended) -> bool:
        """Whether a request was under way then, and failed as it must."""
        under_way = ended.began <= self.until and ended.began + ended.took_s >= self.since
        return under_way and ended.status in self.statuses


@dataclass
class Scene:
    """One drill under way.

    Args:
        cluster: What fails.
        traffic: What must not.
        seconds: How long a lasting fault lasts.
        minutes: How long what repeats itself goes on.
    """

    cluster: HostedCluster
    traffic: Traffic
    seconds: float
    minutes: float
    chance: random.Random = field(default_factory=lambda: random.Random(1))
    excuses: list[Excuse] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    # Why the drill did not come to its end.
    stuck: str = ""

    def say(self, text: str) -> None:
        """Put a line into the report."""
        self.said.append(text)
        print(f"  {text}", flush=True)

    def must_fail(
        self,
        why: str,
        since: float,
        until: float = 0.0,
        *,
        statuses: Iterable[int] = CUT_OR_UNAVAILABLE,
        kinds: Iterable[str] = ANY_KIND,
    ) -> None:
        """Expect that requests fail which are under way at a time, or from it to another; as in `Excuse`."""
        self.excuses.append(Excuse(why, since, until or since, frozenset(statuses), frozenset(kinds)))

    async def flow(self, seconds: float = 0.0) -> None:
        """Let the traffic flow, as long as a lasting fault lasts if no time is given."""
        await asyncio.sleep(seconds or self.seconds)

    async def every_minute(self, act: Callable[[int], Coroutine[Any, Any, None]]) -> None:
        """Do something in the middle of each minute; it has its minute to end."""
        began = time.monotonic()
        for minute in range(max(1, round(self.minutes))):
            await asyncio.sleep(max(0.0, began + 60 * minute + 30 - time.monotonic()))
            await act(minute)
        await asyncio.sleep(max(0.0, began + 60 * self.minutes - time.monotonic()))


Drill: TypeAlias = Callable[[Scene], Coroutine[Any, Any, None]]
