"""Mixed requests: streamed and not, to good and bad models, some hung up on."""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.faults.world import World
from tests.flow.stack import ADMIN_KEY

MODELS = ("small", "small", "large", "slow", "slow", "breaks", "cuts")
WORDS = "one two three four five six seven eight nine ten eleven twelve".split()


@dataclass
class Load:
    """What the callers saw: how many requests ended how."""

    endings: Counter[str] = field(default_factory=Counter)
    keys: list[str] = field(default_factory=list)


async def make_keys(world: World, count: int = 4) -> list[str]:
    """Keys with a user, an organization and budgets that are never reached, so that everything is reserved."""
    keys = []
    async with httpx.AsyncClient(
        base_url=world.rests[0], headers={"authorization": f"Bearer {ADMIN_KEY}"}, trust_env=False, timeout=10
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


async def on_a_budget_for_one(world: World, load: Load, concurrent: int = 50) -> list[int]:
    """Ask all gateways at once with a key whose budget is one request's upper bound; the statuses."""
    body = {"model": "small", "messages": [{"role": "user", "content": "one"}], "max_completion_tokens": 40}
    admin = {"authorization": f"Bearer {ADMIN_KEY}"}
    async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
        holder = {"authorization": f"Bearer {load.keys[0]}"}
        route = (await http.post(f"{world.rests[0]}/v1/route", json=body, headers=holder)).raise_for_status()
        # Two attempts of a request may be billed.
        bound = 2 * route.json()["selection"]["candidates"][0]["max_cost_usd"]
        fields = {"budget_usd": f"{bound:.9f}", "budget_period": "total", "models": ["small"]}
        made = (
            await http.post(f"{world.rests[0]}/admin/keys", json=fields, headers=admin)
        ).raise_for_status()
        headers = {"authorization": f"Bearer {made.json()['key']}"}
        answers = await asyncio.gather(
            *(
                http.post(
                    f"{world.rests[i % len(world.rests)]}/v1/chat/completions", json=body, headers=headers
                )
                for i in range(concurrent)
            )
        )
    return sorted(answer.status_code for answer in answers)


async def drive(world: World, load: Load, requests: int, *, callers: int, seed: int) -> None:
    """Make so many requests, `callers` at a time, to the gateways in turn."""
    numbers = iter(range(requests))
    limits = httpx.Limits(max_connections=2 * callers, max_keepalive_connections=callers)
    async with httpx.AsyncClient(trust_env=False, timeout=30, limits=limits) as http:

        async def call() -> None:
            for number in numbers:
                dice = random.Random(seed * 1_000_003 + number)
                load.endings[await _one(http, world, load, number, dice)] += 1

        await asyncio.gather(*(call() for _ in range(callers)))


async def _one(http: httpx.AsyncClient, world: World, load: Load, number: int, dice: random.Random) -> str:
    words = " ".join(dice.choices(WORDS, k=dice.randint(1, 12)))
    body: dict[str, Any] = {
        "model": dice.choice(MODELS),
        "messages": [{"role": "user", "content": f"r{number} {words}"}],
        "stream": dice.random() < 0.5,
        "max_completion_tokens": 40,
    }
    patience = dice.uniform(0.01, 0.15) if dice.random() < 0.1 else 30.0
    headers = {"authorization": f"Bearer {dice.choice(load.keys)}"}
    url = f"{dice.choice(world.rests)}/v1/chat/completions"
    try:
        async with asyncio.timeout(patience):
            async with http.stream("POST", url, json=body, headers=headers) as answer:
                text = await answer.aread()
    except TimeoutError:
        return "hung up"
    except httpx.HTTPError as error:
        # The gateway died, or is not back yet.
        await asyncio.sleep(0.05)
        return type(error).__name__
    if answer.status_code == 200 and body["stream"] and b"[DONE]" not in text:
        return "200 cut"
    return str(answer.status_code)
