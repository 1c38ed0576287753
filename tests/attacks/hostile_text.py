"""Texts that a careless pattern or loop reads in quadratic time, in every place of a body that is read.

Before it was mended, 16 MiB of the first of them stopped the executor for every tenant for a minute.
`tests/fuzz/linear.py` tries every pattern and parser by itself; this tries what they are together.
"""

import asyncio
import itertools
import time
from contextlib import suppress
from typing import Any

import httpx

from tests.attacks.target import Target, alone

NAME = "texts that take long to read"

# Characters of one hostile text: together with the others under way they stay below what a gateway holds.
SIZE = 2 * 2**20
# Hostile requests under way at once.
PARALLEL = 2
UNITS = ("a" * 2047 + "-", "a", "1", "<", " \n", "how many ", "sk-", "今日", "A)\n", "\\", '{"a":', "data: ")
MODELS = ("small", "claude", "gemini")


def bodies(model: str, unit: str) -> list[dict[str, Any]]:
    """A hostile text as a message, as a picture, as the name of a tool, and as many short messages."""
    text = unit * (SIZE // len(unit))
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{text}"}}
    contents: list[Any] = [
        text,
        [picture],
        [{"type": "text", "text": line} for line in text.split("\n")[:1000]],
    ]
    found: list[dict[str, Any]] = [{"messages": [{"role": "user", "content": one}]} for one in contents]
    tool = {"type": "function", "function": {"name": "f", "description": text}}
    found.append({"messages": [{"role": "user", "content": "."}], "tools": [tool]})
    return [{"model": model, "max_tokens": 4, **one} for one in found]


async def attack(target: Target, *, seconds: float) -> list[str]:
    """Send them for so many seconds, and see how long a small request beside them waits."""
    ends = time.monotonic() + seconds
    sent = 0
    waits: list[float] = []
    work = itertools.cycle((model, unit) for unit in UNITS for model in MODELS)

    async def send(http: httpx.AsyncClient) -> None:
        nonlocal sent
        for body in (body for chosen in work for body in bodies(*chosen)):
            if time.monotonic() > ends and sent >= PARALLEL:
                break
            sent += 1
            answer = await http.post("/v1/chat/completions", json=body)
            assert answer.status_code not in (500, 502), f"{answer.status_code}: {answer.text[:300]}"

    # Of another organization: the attacker's key is refused for a while when too many of its requests were wrong.
    other = {"authorization": f"Bearer {await target.make_key('honest')}"}

    async def probe(http: httpx.AsyncClient) -> None:
        while True:
            began = time.monotonic()
            (await http.get("/v1/models", headers=other)).raise_for_status()
            waits.append(time.monotonic() - began)
            await asyncio.sleep(0.02)

    async with httpx.AsyncClient(
        base_url=target.rest, headers=target.headers, timeout=60, trust_env=False
    ) as http:
        probing = asyncio.create_task(probe(http))
        try:
            await asyncio.gather(*(send(http) for _ in range(PARALLEL)))
        finally:
            probing.cancel()
            with suppress(asyncio.CancelledError):
                await probing
    assert waits, "no probe was answered"
    longest_ms = max(waits) * 1000
    return [
        f"{sent} hostile texts of 2 MiB: {len(waits)} requests beside them waited {longest_ms:.0f} ms at most."
    ]


if __name__ == "__main__":
    alone(NAME, attack)
