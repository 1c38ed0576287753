"""How much of each deployment may be used: requests and tokens per minute and day, and calls at a time.

A deployment at its limit is passed over, instead of answering 429. What it may not do is counted in windows that all
replicas share; what the provider itself says in its headers is believed before our own count.
"""

import asyncio
import math
import re
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from services.chassis.deployments import Deployment

MINUTE_S = 60.0
# No provider's window is longer: what says otherwise is a mistake.
DAY_S = 86400.0


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit of a deployment: its name (rpm, tpm, rpd or tpd), how much, and where its day begins."""

    name: str
    total: int
    zone: str = "UTC"

    @property
    def of_tokens(self) -> bool:
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
    """What remains of one limit, and when it is whole again, in seconds since 1970."""

    limit: str
    total: int
    remaining: int
    resets_unix_s: float
    by_provider: bool = False


class Counter(Protocol):
    """Counts per limit and window."""

    async def take(self, ident: str, limits: Sequence[Limit], tokens: int) -> tuple[list[int], str, float]:
        """Count one request of so many tokens, unless that would pass a limit.

        Returns:
            What is used of each limit now, the name of the limit that forbids it (empty when none does), and the
            seconds until that one's window ends.
        """

    async def add_tokens(self, ident: str, limits: Sequence[Limit], tokens: int, taken_unix_s: float) -> None:
        """Correct the tokens of the current windows, up or down.

        What was not used after all is given back only to the window that it was taken from, at `taken_unix_s`: the
        next one was never charged for it.
        """


class LocalCounter:
    """Counts of this process alone."""

    def __init__(self) -> None:
        self._used: dict[tuple[str, str], tuple[int, int]] = {}

    async def take(self, ident: str, limits: Sequence[Limit], tokens: int) -> tuple[list[int], str, float]:
        """Count one request of so many tokens, unless that would pass a limit."""
        now = time.time()
        used, windows = [], []
        for limit in limits:
            number, ends = limit.window(now)
            seen, count = self._used.get((ident, limit.name), (number, 0))
            used.append(count if seen == number else 0)
            windows.append((number, ends))
        wanted = [tokens if limit.of_tokens else 1 for limit in limits]
        for limit, count, want, (_, ends) in zip(limits, used, wanted, windows, strict=True):
            if forbids(limit.total, count, want):
                return used, limit.name, ends - now
        for limit, count, want, (number, _) in zip(limits, used, wanted, windows, strict=True):
            self._used[ident, limit.name] = (number, count + want)
        return [count + want for count, want in zip(used, wanted, strict=True)], "", 0.0

    async def add_tokens(self, ident: str, limits: Sequence[Limit], tokens: int, taken_unix_s: float) -> None:
        """Correct the tokens of the current windows."""
        for limit, number, _ in corrected(limits, tokens, taken_unix_s):
            seen, count = self._used.get((ident, limit.name), (number, 0))
            self._used[ident, limit.name] = (number, max(0, (count if seen == number else 0) + tokens))


def corrected(
    limits: Sequence[Limit], tokens: int, taken_unix_s: float
) -> Iterator[tuple[Limit, int, float]]:
    """The limits that a correction changes now, each with its window's number and the seconds until its end."""
    now = time.time()
    for limit in limits:
        number, end = limit.window(now)
        if limit.of_tokens and (tokens > 0 or number == limit.window(taken_unix_s)[0]):
            yield limit, number, end - now


def forbids(total: int, used: int, wanted: int) -> bool:
    """Whether a limit forbids a use. One request larger than a whole window passes when nothing else was used."""
    return used + wanted > total and used > 0


def limits_of(deployment: Deployment) -> tuple[Limit, ...]:
    """The limits of a deployment: its own, and a free quota's where it costs nothing to stay within."""
    found: dict[str, Limit] = {}
    if quota := deployment.free_quota:
        for name in ("rpm", "tpm", "rpd", "tpd"):
            if total := getattr(quota, name):
                found[name] = Limit(name, total, quota.reset)
    for name, total in (("rpm", deployment.rpm), ("tpm", deployment.tpm)):
        if total and (name not in found or total < found[name].total):
            found[name] = Limit(name, total)
    return tuple(found.values())


class Places:
    """How many calls of one deployment may be under way; a few more may wait for a place."""

    def __init__(self, size: int, waiting: int) -> None:
        self.size = size
        self._waiting = waiting
        self._queue: deque[asyncio.Future[None]] = deque()
        self.taken = 0

    async def enter(self, patience_s: float) -> bool:
        """Take a place, waiting for one if there is room to wait; False when there is none in time."""
        if not self.size or self.taken < self.size:
            self.taken += 1
            return True
        if len(self._queue) >= self._waiting or patience_s <= 0:
            return False
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            async with asyncio.timeout(patience_s):
                await turn
        except (TimeoutError, asyncio.CancelledError) as interruption:
            if turn.done() and not turn.cancelled():
                # The place was handed to us just as we gave up: pass it on.
                self.leave()
            else:
                # Whoever leaves in the same tick has taken us out already.
                with suppress(ValueError):
                    self._queue.remove(turn)
            if isinstance(interruption, TimeoutError):
                return False
            raise
        return True

    def leave(self) -> None:
        """Give the place back, to the one who waits longest."""
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.taken -= 1


# As many digits as fit into the contract's 64 bits.
_COUNT = re.compile(r"[0-9]{1,15}")
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
# (limit, OpenAI's word, Anthropic's word); without a word for the span both count per minute.
_HEADERS = (
    ("rpm", "x-ratelimit-{}-requests", "anthropic-ratelimit-requests-{}"),
    ("tpm", "x-ratelimit-{}-tokens", "anthropic-ratelimit-tokens-{}"),
    ("rpd", "x-ratelimit-{}-requests-day", ""),
    ("tpd", "x-ratelimit-{}-tokens-day", ""),
)


def from_headers(headers: Mapping[str, str], now_unix_s: float) -> list[Headroom]:
    """What a provider says remains, in the headers of OpenAI and its likes, or of Anthropic."""
    found = []
    for name, *words in _HEADERS:
        for word in words:
            if not word:
                continue
            total, remaining = (
                headers.get(word.format("limit"), ""),
                headers.get(word.format("remaining"), ""),
            )
            if _COUNT.fullmatch(total) and _COUNT.fullmatch(remaining):
                said = _resets(headers.get(word.format("reset"), ""), now_unix_s)
                resets = min(said, now_unix_s + DAY_S)
                found.append(Headroom(name, int(total), int(remaining), resets, by_provider=True))
                break
    return found


def _resets(said: str, now_unix_s: float) -> float:
    spans = _SPAN.findall(said)
    if spans and "".join(number + unit for number, unit in spans) == said:
        return now_unix_s + sum(float(number) * _UNITS[unit] for number, unit in spans)
    try:
        number = float(said)
    except ValueError:
        pass
    else:
        if not math.isfinite(number):
            return now_unix_s + MINUTE_S
        # OpenRouter gives milliseconds since 1970, some give seconds since then, most seconds to wait.
        return number / 1000 if number > 1e11 else number if number > 1e9 else now_unix_s + number
    try:
        moment = datetime.fromisoformat(said)
    except ValueError:
        return now_unix_s + MINUTE_S
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
