"""What happens above capacity? Nine modest tenants and a greedy one at 1, 2 and 5 times of what Lumni can do.

    .venv/bin/python -m tests.bench.overload [--seconds 15]

Everything is real and on, as in `road`; the provider simulator answers after 300 ms, and every fourth request is a stream
of 16 pieces 10 ms apart. Capacity is what 64 clients get through who each wait for their answer. Then requests arrive by
chance (Poisson), whatever becomes of the earlier ones: each modest tenant sends 5 % of capacity, the greedy one the rest of
the load. The client stands for many and shares the cores with all, so the figures are ratios, not a machine's best.
"""

import argparse
import asyncio
import random
import shutil
import statistics
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import psutil
import uvloop

from services.gateway.migrate import migrate
from services.local.postgres import Postgres
from services.local.server import started
from services.local.valkey import Valkey
from tests import simulator
from tests.bench.processes import cpu_ms
from tests.bench.road import SERVICES
from tests.flow import stack as stacks
from tests.flow.stack import Stack

FLEET = """
model_list:
  - model_name: small
    litellm_params: {{model: openai/small-sim-slow-300-drip-10, api_base: "{simulator}/v1", api_key: os.environ/SIMULATOR_KEY}}
    model_info: {{input_cost_per_token: 0.0000001, output_cost_per_token: 0.0000004, max_input_tokens: 8192, access_groups: [all]}}
router_settings: {{num_retries: 0, allowed_fails: 1000000}}
"""
MODEST = [f"modest-{i}" for i in range(9)]
GREEDY = "greedy"
# Of capacity, for each modest tenant.
MODEST_SHARE = 0.05
# 0 is without the greedy one, for comparison.
TIMES = (0, 1, 2, 5)
CLIENTS = 64
# The greedy tenant's open connections; what arrives beyond is not sent.
CONNECTIONS = 400
# A caller who waits longer has left.
PATIENCE_S = 10
STREAMED = 0.25


@dataclass
class Seen:
    """What became of a tenant's requests."""

    answered_ms: list[float] = field(default_factory=list)
    refused_ms: list[float] = field(default_factory=list)
    endings: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Seen") -> None:
        self.answered_ms += other.answered_ms
        self.refused_ms += other.refused_ms
        self.endings += other.endings


async def send(session: aiohttp.ClientSession, url: str, key: str, rng: random.Random, seen: Seen) -> None:
    """One request, and its ending."""
    body = {
        "model": "small",
        "messages": [{"role": "user", "content": "Which planet is the largest?"}],
        "stream": rng.random() < STREAMED,
    }
    began = time.perf_counter()
    try:
        async with session.post(url, json=body, headers={"authorization": f"Bearer {key}"}) as answer:
            await answer.read()
    except (TimeoutError, aiohttp.ClientError) as error:
        seen.endings[type(error).__name__] += 1
        return
    took = (time.perf_counter() - began) * 1000
    seen.endings[str(answer.status)] += 1
    if answer.status == 200:
        seen.answered_ms.append(took)
    elif answer.status in (429, 503):
        assert answer.headers["retry-after"]
        seen.refused_ms.append(took)


async def arrivals(url: str, key: str, rate: float, seconds: float, seed: int) -> Seen:
    """Send at so many a second, by chance, and wait for what is under way."""
    rng, seen = random.Random(seed), Seen()
    under_way: set[asyncio.Task[None]] = set()
    timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
    async with aiohttp.ClientSession(
        timeout=timeout, connector=aiohttp.TCPConnector(limit=CONNECTIONS)
    ) as session:
        began = at = time.perf_counter()
        while (at := at + rng.expovariate(rate)) < began + seconds:
            await asyncio.sleep(max(0.0, at - time.perf_counter()))
            if len(under_way) == CONNECTIONS:
                seen.endings["not sent"] += 1
                continue
            task = asyncio.create_task(send(session, url, key, rng, seen))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
        if under_way:
            await asyncio.wait(under_way)
    return seen


async def capacity(url: str, key: str, seconds: float) -> float:
    """Requests a second that clients get answered who wait for each answer."""
    seen, ends = Seen(), time.perf_counter() + seconds

    async def client(session: aiohttp.ClientSession, seed: int) -> None:
        rng = random.Random(seed)
        while time.perf_counter() < ends:
            await send(session, url, key, rng, seen)

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(client(session, seed) for seed in range(CLIENTS)))
    return seen.endings["200"] / seconds


def spread(taken: list[float]) -> str:
    """Median and 99th percentile."""
    if len(taken) < 2:
        return "- | -"
    cuts = statistics.quantiles(taken, n=100)
    return f"{cuts[49]:.0f} | {cuts[98]:.0f}"


async def make_keys(stack: Stack) -> dict[str, str]:
    """A key for each tenant, in an organization of its own."""
    keys = {}
    admin = {"authorization": f"Bearer {stacks.ADMIN_KEY}"}
    async with aiohttp.ClientSession(stack.rest, headers=admin, raise_for_status=True) as session:
        for name in (*MODEST, GREEDY):
            await session.put(f"/admin/organizations/{name}", json={})
            async with session.post("/admin/keys", json={"organization_id": name}) as answer:
                keys[name] = (await answer.json())["key"]
    return keys


async def measure(stack: Stack, seconds: float) -> None:
    """Measure and print."""
    keys, url = await make_keys(stack), f"{stack.rest}/v1/chat/completions"
    processes = {name: psutil.Process(stack.services[name].pid) for name in SERVICES}
    await capacity(url, keys[GREEDY], 3)
    most = await capacity(url, keys[GREEDY], seconds)
    print(f"capacity: {most:.0f} requests a second\n")
    print("| load | tenant | sent a second | answered | refused | failed | p50 | p99 | refusal p50 | p99 |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    shares = []
    for times in TIMES:
        before = {name: cpu_ms(process) for name, process in processes.items()}
        began = time.perf_counter()
        rates = dict.fromkeys(MODEST, most * MODEST_SHARE)
        if times:
            rates[GREEDY] = most * times - sum(rates.values())
        runs = await asyncio.gather(
            *(
                arrivals(url, keys[name], rate, seconds, seed)
                for seed, (name, rate) in enumerate(rates.items())
            )
        )
        took = time.perf_counter() - began
        spent = {name: (cpu_ms(process) - before[name]) / 1000 / took for name, process in processes.items()}
        shares.append(f"| {times}x | " + " | ".join(f"{share:.0%}" for share in spent.values()) + " |")
        modest = Seen()
        for run in runs[: len(MODEST)]:
            modest.add(run)
        for name, seen in (("nine modest", modest), *((GREEDY, run) for run in runs[len(MODEST) :])):
            sent = sum(count for ending, count in seen.endings.items() if ending != "not sent")
            answered, refused = len(seen.answered_ms), len(seen.refused_ms)
            print(
                f"| {times}x | {name} | {sent / seconds:.0f} | {answered / sent:.1%} | {refused / sent:.1%} "
                f"| {1 - (answered + refused) / sent:.1%} | {spread(seen.answered_ms)} | {spread(seen.refused_ms)} |",
                flush=True,
            )
        await asyncio.sleep(2)
    print("\n| CPU, of one core | " + " | ".join(SERVICES) + " |\n" + "| --- " * (len(SERVICES) + 1) + "|")
    print("\n".join(shares))


async def main(seconds: float) -> None:
    folder = Path(tempfile.mkdtemp(prefix="lumni-bench-"))
    folder.chmod(0o711)
    try:
        async with (
            started(Postgres(folder / "postgres")) as postgres,
            started(Valkey(folder / "valkey")) as valkey,
            simulator.spawned() as provider,
        ):
            await migrate(postgres.url)
            async with stacks.running(
                folder / "stack",
                database=postgres.url,
                valkey=valkey,
                simulator=provider.url,
                fleet=FLEET,
            ) as stack:
                await measure(stack, seconds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=15)
    uvloop.run(main(parser.parse_args().seconds))
