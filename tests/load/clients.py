"""Clients who wait for each answer, and count those that the whole of Lumni has made."""

import asyncio
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp

BODY = {
    "model": "small",
    "messages": [{"role": "user", "content": "Which planet is the largest, and how large is it?"}],
    "max_completion_tokens": 40,
}
PATIENCE_S = 60
# Who is told to come back does so after this at the latest, in seconds.
LONGEST_PAUSE_S = 1.0


@dataclass
class Answered:
    """How many requests ended how within some seconds.

    Args:
        seconds: That were asked.
        whole: Answered after classification and selection.
        degraded: Answered without one of them.
        refused: Told to come back later.
    """

    seconds: float
    whole: int = 0
    degraded: int = 0
    refused: int = 0

    @property
    def rate(self) -> float:
        """Whole answers a second."""
        return self.whole / self.seconds


async def ask(rests: Sequence[str], key: str, clients: int, seconds: float) -> Answered:
    """Ask all gateways in turns from so many clients.

    Raises:
        OSError: an answer was neither a completion nor a refusal.
    """
    found, numbers = Answered(seconds), itertools.count()
    ends = time.monotonic() + seconds
    async with aiohttp.ClientSession(
        headers={"authorization": f"Bearer {key}"},
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=PATIENCE_S),
    ) as session:

        async def client() -> None:
            while time.monotonic() < ends:
                url = f"{rests[next(numbers) % len(rests)]}/v1/chat/completions"
                async with session.post(url, json=BODY) as answer:
                    text = await answer.read()
                if time.monotonic() > ends:
                    return
                if answer.status in (429, 503):
                    found.refused += 1
                    await asyncio.sleep(min(LONGEST_PAUSE_S, float(answer.headers.get("retry-after", 1))))
                elif answer.status != 200:
                    raise OSError(f"{answer.status}: {text[:200].decode(errors='replace')}")
                elif answer.headers.get("x-lumni-degraded"):
                    found.degraded += 1
                else:
                    found.whole += 1

        await asyncio.gather(*(client() for _ in range(clients)))
    return found
