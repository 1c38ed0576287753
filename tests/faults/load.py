"""Mixed requests: streamed and not, to good and bad models, some given up by their callers."""

import asyncio
import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.faults.cluster import STALLED_S, Cluster
from tests.flow.stack import ADMIN_KEY

MODELS = ("small", "small", "large", "slow", "slow", "breaks", "cuts")
WORDS = "one two three four five six seven eight nine ten eleven twelve".split()
CALLERS = 16


@dataclass
class Load:
    """The callers' keys, and how many of their requests ended how."""

    keys: list[str]
    endings: Counter[str] = field(default_factory=Counter)
    _ended: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, ending: str) -> None:
        """Count a request that ended."""
        self.endings[ending] += 1
        self._ended.set()

    async def until(self, count: int) -> None:
        """Wait until so many requests ended, whatever time they take.

        Raises:
            TimeoutError: nothing moves any more.
        """
        while self.endings.total() < count:
            self._ended.clear()
            async with asyncio.timeout(STALLED_S):
                await self._ended.wait()


async def make_keys(cluster: Cluster, count: int = 4) -> list[str]:
    """Keys with a user, an organization and budgets that are never reached, so that everything is reserved."""
    keys = []
    headers = {"authorization": f"Bearer {ADMIN_KEY}"}
    async with httpx.AsyncClient(
        base_url=cluster.rests[0], headers=headers, trust_env=False, timeout=STALLED_S
    ) as http:
        for i in range(2):
            limits = {"budget_usd": 1000, "budget_period": "week"}
            (await http.put(f"/admin/organizations/org{i}", json=limits)).raise_for_status()
            (
                await http.put(f"/admin/users/user{i}", json={**limits, "organization_id": f"org{i}"})
            ).raise_for_status()
        for i in range(count):
            fields = {"user_id": f"user{i % 2}", "budget_usd": 1000, "budget_period": "total"}
            answer = (await http.post("/admin/keys", json=fields)).raise_for_status()
            keys.append(answer.json()["key"])
    return keys


async def on_a_budget_for_one(cluster: Cluster, load: Load, concurrent: int = 50) -> list[int]:
    """Ask all gateways at once with a key whose budget is one request's upper bound; the statuses."""
    body = {"model": "small", "messages": [{"role": "user", "content": "one"}], "max_completion_tokens": 40}
    admin = {"authorization": f"Bearer {ADMIN_KEY}"}
    first = cluster.rests[0]
    async with httpx.AsyncClient(trust_env=False, timeout=STALLED_S) as http:
        holder = {"authorization": f"Bearer {load.keys[0]}"}
        route = (await http.post(f"{first}/v1/route", json=body, headers=holder)).raise_for_status()
        # Two attempts of a request may be billed.
        bound = 2 * route.json()["selection"]["candidates"][0]["max_cost_usd"]
        fields = {"budget_usd": f"{bound:.9f}", "budget_period": "total", "models": ["small"]}
        made = (await http.post(f"{first}/admin/keys", json=fields, headers=admin)).raise_for_status()
        headers = {"authorization": f"Bearer {made.json()['key']}"}
        urls = [f"{rest}/v1/chat/completions" for rest in cluster.rests]
        answers = await asyncio.gather(
            *(http.post(urls[i % len(urls)], json=body, headers=headers) for i in range(concurrent))
        )
    return sorted(answer.status_code for answer in answers)


async def drive(cluster: Cluster, load: Load, numbers: Iterable[int], *, seed: int) -> None:
    """Make the requests of these numbers, to any of the gateways, so many at a time as there are callers."""
    left = iter(numbers)
    limits = httpx.Limits(max_connections=2 * CALLERS, max_keepalive_connections=CALLERS)
    async with httpx.AsyncClient(trust_env=False, timeout=30, limits=limits) as http:

        async def call() -> None:
            for number in left:
                load.add(await _send(http, cluster, load, number, random.Random(seed * 1_000_003 + number)))

        await asyncio.gather(*(call() for _ in range(CALLERS)))


async def _send(
    http: httpx.AsyncClient, cluster: Cluster, load: Load, number: int, rng: random.Random
) -> str:
    words = " ".join(rng.choices(WORDS, k=rng.randint(1, 12)))
    body: dict[str, Any] = {
        "model": rng.choice(MODELS),
        "messages": [{"role": "user", "content": f"r{number} {words}"}],
        "stream": rng.random() < 0.5,
        "max_completion_tokens": 40,
    }
    gives_up_after_s = rng.uniform(0.01, 0.15) if rng.random() < 0.1 else None
    headers = {"authorization": f"Bearer {rng.choice(load.keys)}"}
    url = f"{rng.choice(cluster.rests)}/v1/chat/completions"
    try:
        async with asyncio.timeout(gives_up_after_s):
            async with http.stream("POST", url, json=body, headers=headers) as answer:
                text = await answer.aread()
    except TimeoutError:
        return "given up"
    except httpx.HTTPError as error:
        # The gateway died, or is not back yet.
        await asyncio.sleep(0.05)
        return type(error).__name__
    if answer.status_code == 200 and body["stream"] and b"[DONE]" not in text:
        return "200 cut"
    return str(answer.status_code)
