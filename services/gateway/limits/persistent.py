"""Who is at a limit all the time: a client in a loop, or a limit that is too low."""

import logging
import time
from collections import Counter, OrderedDict
from functools import partial

import prometheus_client

from services.chassis import measuring

log = logging.getLogger(__name__)

# Refused for so long, in seconds, is no burst.
PERSISTENT_S = 300.0
# Without a refusal for so long, in seconds, it is over: a refused client may wait for the next minute.
OVER_S = 120.0
# Subjects that are followed, the newest of them.
MOST = 10_000
SCOPES = ("key", "user", "organization")

LIMITED = prometheus_client.Gauge(
    "lumni_gateway_persistently_limited",
    "Keys, users and organizations that were refused for five minutes on end; the log names them.",
    ["scope"],
    multiprocess_mode="livemax",
)


class PersistentlyLimited:
    """Follows who is refused; says so once, when it has lasted."""

    def __init__(self) -> None:
        # By subject, the one that was refused last at the end: since when, and when last, on the monotonic clock.
        self._spans: OrderedDict[str, tuple[float, float]] = OrderedDict()
        for scope in SCOPES:
            measuring.follow(LIMITED.labels(scope), partial(self.count, scope))

    def note(self, subject: str, now: float | None = None) -> None:
        """Note a refusal of a subject, such as `user:ID`."""
        now = time.monotonic() if now is None else now
        since, last = self._spans.pop(subject, (now, now))
        if now - last > OVER_S:
            since = last = now
        if last - since < PERSISTENT_S <= now - since:
            log.warning("%s has been refused for %d s", subject, now - since, extra={"subject": subject})
        self._spans[subject] = (since, now)
        if len(self._spans) > MOST:
            self._spans.popitem(last=False)

    def count(self, scope: str, now: float | None = None) -> int:
        """How many subjects of a scope have been refused for so long."""
        now = time.monotonic() if now is None else now
        persistent = (
            subject.partition(":")[0]
            for subject, (since, last) in list(self._spans.items())
            if now - last <= OVER_S and last - since >= PERSISTENT_S
        )
        return Counter(persistent)[scope]


# One for the process, as its metric is.
followed = PersistentlyLimited()
