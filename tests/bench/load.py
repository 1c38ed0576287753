"""Load for a server that speaks OpenAI's chat completions, and what its callers see of it. Times are milliseconds."""

import asyncio
import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import aiohttp

MESSAGES = [{"role": "user", "content": "Which planet is the largest, and how large is it?"}]
# Chunks of a stream and the milliseconds between them: as a fast model writes, and as a slow one.
CHUNKS, DRIP_MS = 200, 10
HELD_CHUNKS, HELD_DRIP_MS = 100, 100
# The models behind which the simulator streams so, as it knows them.
DRIPS = f"drips-sim-tokens-{CHUNKS}-drip-{DRIP_MS}"
TRICKLES = f"trickles-sim-tokens-{HELD_CHUNKS}-drip-{HELD_DRIP_MS}"
# Who waits longer has left, in seconds.
PATIENCE_S = 60
# What a rate may add to the 99th percentile, and in how many steps the highest such rate is looked for.
ADDED_P99_MS, STEPS = 20.0, 4


@dataclass(frozen=True)
class Target:
    """Where requests go.

    Args:
        url: Of chat completions.
        session: Sends them, with the key and without a limit of connections.
        model: Answers at once.
        drips: Streams `CHUNKS` chunks.
        trickles: Streams `HELD_CHUNKS` chunks.

    """

    url: str
    session: aiohttp.ClientSession
    model: str
    drips: str
    trickles: str


@dataclass
class Seen:
    """What became of requests: the time of each answer, or to the first chunk of each whole stream."""

    answered: list[float] = field(default_factory=list)
    failed: int = 0

    @property
    def median(self) -> float:
        """The median."""
        return percentile(self.answered, 0.5)

    @property
    def share_failed(self) -> float:
        """How many were refused, broken off, or not answered in time."""
        return self.failed / (self.failed + len(self.answered))


def open_session(headers: dict[str, str]) -> aiohttp.ClientSession:
    """A session for any number of clients."""
    return aiohttp.ClientSession(
        headers=headers,
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=PATIENCE_S),
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The value that so large a share of the others does not exceed; infinite without values."""
    if not values:
        return math.inf
    return sorted(values)[min(len(values) - 1, math.ceil(share * len(values)) - 1)]


async def ask(target: Target, clients: int, requests: int) -> Seen:
    """Ask from so many clients, each of whom waits for its answer; who is told to come back later does so."""
    seen = Seen()

    async def client() -> None:
        for _ in range(max(1, requests // clients)):
            await asyncio.sleep(await _ask(target, seen))

    await asyncio.gather(*(client() for _ in range(clients)))
    return seen


async def at_rate(target: Target, rate: float, seconds: float) -> Seen:
    """Send so many requests a second by chance, whatever becomes of the earlier ones."""
    rng, seen = random.Random(0), Seen()
    began = at = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        while (at := at + rng.expovariate(rate)) < began + seconds:
            await asyncio.sleep(max(0.0, at - time.perf_counter()))
            tasks.create_task(_ask(target, seen))
    return seen


async def highest_rate(target: Target, direct: Target, most: float, seconds: float) -> float:
    """The highest rate up to `most`, of `STEPS` halvings, that adds at most `ADDED_P99_MS` to the provider's p99."""
    low, high = 0.0, most
    for _ in range(STEPS):
        rate = (low + high) / 2
        provider, ours = await at_rate(direct, rate, seconds), await at_rate(target, rate, seconds)
        added = percentile(ours.answered, 0.99) - percentile(provider.answered, 0.99)
        low, high = (rate, high) if added <= ADDED_P99_MS and not ours.failed else (low, rate)
    return low


async def stream(target: Target, model: str, chunks: int, streams: int) -> Seen:
    """Read so many streams at once; one that does not bring all its chunks has failed."""
    seen = Seen()

    async def one() -> None:
        began = time.perf_counter()
        first, events = 0.0, 0
        body = {"model": model, "stream": True, "messages": MESSAGES}
        try:
            async with target.session.post(target.url, json=body) as response:
                async for line in response.content:
                    if line.startswith(b"data:"):
                        first = first or (time.perf_counter() - began) * 1000
                        events += 1
        except (TimeoutError, aiohttp.ClientError):
            events = 0
        if events >= chunks:
            seen.answered.append(first)
        else:
            seen.failed += 1

    await asyncio.gather(*(one() for _ in range(streams)))
    return seen


async def _ask(target: Target, seen: Seen) -> float:
    """One request; seconds to wait before the next one."""
    began = time.perf_counter()
    try:
        async with target.session.post(
            target.url, json={"model": target.model, "messages": MESSAGES}
        ) as response:
            await response.read()
    except (TimeoutError, aiohttp.ClientError):
        seen.failed += 1
        return 0.0
    if response.status == 200:
        seen.answered.append((time.perf_counter() - began) * 1000)
        return 0.0
    assert response.status in (429, 503), response.status
    seen.failed += 1
    return float(response.headers.get("retry-after", 0))
