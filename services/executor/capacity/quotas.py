"""How much of each deployment may be used: requests and tokens, per minute and per day.

Requests and tokens are counted in windows that all replicas share. A deployment at its quota is passed over, before
its provider answers 429.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from services.chassis.deployments import Deployment

MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class Quota:
    """One quota of a deployment: its name (rpm, tpm, rpd or tpd), how much, and where its day begins."""

    name: str
    total: int
    zone: str = "UTC"

    @property
    def counts_tokens(self) -> bool:
        """Whether tokens are counted, not requests."""
        return self.name.startswith("t")

    def window(self, now_unix_s: float) -> tuple[int, float]:
        """The number of the window that `now_unix_s` lies in, and when it ends, in seconds since 1970."""
        if self.name.endswith("m"):
            number = int(now_unix_s // MINUTE_S)
            return number, (number + 1) * MINUTE_S
        today = datetime.fromtimestamp(now_unix_s, ZoneInfo(self.zone)).date()
        tomorrow = datetime.combine(today + timedelta(days=1), datetime.min.time(), ZoneInfo(self.zone))
        return today.toordinal(), tomorrow.timestamp()


@dataclass(frozen=True, slots=True)
class Headroom:
    """What remains of one quota, and when it is whole again, in seconds since 1970."""

    quota: str
    total: int
    remaining: int
    resets_unix_s: float
    # Read from the provider's own headers.
    by_provider: bool = False


@dataclass(frozen=True, slots=True)
class Take:
    """What came of an attempt to use some of a deployment's quotas.

    Args:
        used: What is used of each quota now.
        exceeded: The quota that would have been exceeded, so that nothing was counted; None when there is none.
        wait_s: Seconds until that one's window ends.

    """

    used: Sequence[int]
    exceeded: Quota | None = None
    wait_s: float = 0.0


class QuotaCounter(Protocol):
    """Counts per quota and window."""

    async def take(self, ident: str, quotas: Sequence[Quota], tokens: int) -> Take:
        """Count one request of so many tokens, unless that would exceed a quota."""

    async def add_tokens(self, ident: str, quotas: Sequence[Quota], tokens: int, taken_unix_s: float) -> None:
        """Correct the tokens of the current windows, up or down.

        What was not used after all is given back only to the window that it was taken from, at `taken_unix_s`: the
        next one was never charged for it.
        """


class LocalQuotaCounter:
    """Counts of this process alone."""

    def __init__(self) -> None:
        self._used: dict[tuple[str, str], tuple[int, int]] = {}

    async def take(self, ident: str, quotas: Sequence[Quota], tokens: int) -> Take:
        """Count one request of so many tokens, unless that would exceed a quota."""
        now = time.time()
        used, windows = [], []
        for quota in quotas:
            number, ends = quota.window(now)
            seen, count = self._used.get((ident, quota.name), (number, 0))
            used.append(count if seen == number else 0)
            windows.append((number, ends))
        wanted = [tokens if quota.counts_tokens else 1 for quota in quotas]
        for quota, count, want, (_, ends) in zip(quotas, used, wanted, windows, strict=True):
            if would_exceed(quota.total, count, want):
                return Take(used, quota, ends - now)
        for quota, count, want, (number, _) in zip(quotas, used, wanted, windows, strict=True):
            self._used[ident, quota.name] = (number, count + want)
        return Take([count + want for count, want in zip(used, wanted, strict=True)])

    async def add_tokens(self, ident: str, quotas: Sequence[Quota], tokens: int, taken_unix_s: float) -> None:
        """Correct the tokens of the current windows."""
        for quota, number, _ in corrected(quotas, tokens, taken_unix_s):
            seen, count = self._used.get((ident, quota.name), (number, 0))
            self._used[ident, quota.name] = (number, max(0, (count if seen == number else 0) + tokens))


def corrected(
    quotas: Sequence[Quota], tokens: int, taken_unix_s: float
) -> Iterator[tuple[Quota, int, float]]:
    """The quotas that a correction changes now, each with its window's number and the seconds until its end."""
    now = time.time()
    for quota in quotas:
        number, end = quota.window(now)
        if quota.counts_tokens and (tokens > 0 or number == quota.window(taken_unix_s)[0]):
            yield quota, number, end - now


def would_exceed(total: int, used: int, wanted: int) -> bool:
    """Whether a use would exceed a quota. One request larger than a whole window passes when nothing else was used."""
    return used + wanted > total and used > 0


def quotas_of(deployment: Deployment) -> tuple[Quota, ...]:
    """The quotas of a deployment: its own limits, and a free quota's where it costs nothing to stay within."""
    found: dict[str, Quota] = {}
    if free := deployment.free_quota:
        for name in ("rpm", "tpm", "rpd", "tpd"):
            if total := getattr(free, name):
                found[name] = Quota(name, total, free.reset)
    for name, total in (("rpm", deployment.rpm), ("tpm", deployment.tpm)):
        if total and (name not in found or total < found[name].total):
            found[name] = Quota(name, total)
    return tuple(found.values())
