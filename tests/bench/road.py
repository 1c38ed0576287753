"""What does the road cost? CPU per request by process, and the latency it adds to the provider's.

    .venv/bin/python -m tests.bench.road [--requests 1000] [--rounds 3] [--arrangements apart,together]

Everything is real and on: PostgreSQL, Valkey, the ledger, limits, traces into nowhere; only the provider is the
simulator, in a process of its own. Each arrangement has stores and a ledger of its own, all run at the same time and are
measured in turns, so that what else the machine does meets all of them; what is shown is the median of the rounds. The
same client asks the simulator directly in each round, so that what is added is a difference and not a claim.
"""

import argparse
import asyncio
import shutil
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psutil

from services.gateway.migrate import migrate
from services.local.postgres import Postgres
from services.local.server import started
from services.local.valkey import Valkey
from tests import simulator
from tests.flow import stack as stacks
from tests.flow.stack import ARRANGEMENTS, FLEET

QUESTION = {"messages": [{"role": "user", "content": "Which planet is the largest, and how large is it?"}]}
OURS = ("gateway", "classifier", "selector", "executor")
SERVICES = (*OURS, "ledger")
CLIENTS = (1, 16)
# Seconds of looking at a stack that nobody asks.
REST_S = 5.0
# Streams at a time, and the chunks of each; they come 10 ms apart.
STREAMS, CHUNKS = 16, 200
DRIPPING = f"""  - model_name: drips
    litellm_params: {{{{model: openai/drips-sim-tokens-{CHUNKS}-drip-10, api_base: "{{simulator}}/v1", api_key: os.environ/SIMULATOR_KEY}}}}
    model_info: {{{{input_cost_per_token: 0.0005, output_cost_per_token: 0.001, max_input_tokens: 8192, priority: 0, access_groups: [all]}}}}
router_settings:"""
# For streams of so many tokens.
PLANS = stacks.PLANS.replace("max_output_tokens: 256", "max_output_tokens: 1024")


@dataclass
class Measured:
    """One arrangement that runs, and what was measured of it, by its name in the tables."""

    url: str
    processes: Mapping[str, psutil.Process]
    session: aiohttp.ClientSession

    def cpu(self) -> dict[str, float]:
        """Milliseconds of CPU so far by process."""
        return {name: cpu(process) * 1000 for name, process in self.processes.items()}


def cpu(process: psutil.Process) -> float:
    """Seconds of CPU so far, children included."""
    times = [p.cpu_times() for p in (process, *process.children(recursive=True))]
    return sum(t.user + t.system for t in times)


async def ask(
    session: aiohttp.ClientSession, url: str, model: str, clients: int, requests: int
) -> list[float]:
    """Ask from so many clients at once; the milliseconds of each request."""
    taken: list[float] = []

    async def client(count: int) -> None:
        for _ in range(count):
            began = time.perf_counter()
            async with session.post(url, json={"model": model, **QUESTION}) as response:
                await response.read()
                assert response.status == 200, await response.text()
            taken.append((time.perf_counter() - began) * 1000)

    await asyncio.gather(*(client(requests // clients) for _ in range(clients)))
    return taken


async def stream(session: aiohttp.ClientSession, url: str, model: str) -> list[float]:
    """Read `STREAMS` streams at once; the milliseconds to the first chunk of each."""

    async def one() -> float:
        began = time.perf_counter()
        async with session.post(url, json={"model": model, "stream": True, **QUESTION}) as response:
            assert response.status == 200, await response.text()
            first = 0.0
            async for line in response.content:
                if line.startswith(b"data:"):
                    first = first or (time.perf_counter() - began) * 1000
            return first

    return await asyncio.gather(*(one() for _ in range(STREAMS)))


def spread(taken: Sequence[float]) -> tuple[float, float]:
    """Median and 99th percentile."""
    cuts = statistics.quantiles(taken, n=100)
    return cuts[49], cuts[98]


@asynccontextmanager
async def running(folder: Path, arrangement: str, provider: str) -> AsyncIterator[Measured]:
    """One arrangement, with stores of its own."""
    async with AsyncExitStack() as ends:
        enter = ends.enter_async_context
        postgres = await enter(started(Postgres(folder / f"{arrangement}-postgres")))
        valkey = await enter(started(Valkey(folder / f"{arrangement}-valkey")))
        await migrate(postgres.url)
        stack = await enter(
            stacks.running(
                folder / arrangement,
                database=postgres.url,
                valkey=valkey,
                simulator=provider,
                fleet=FLEET.replace("router_settings:", DRIPPING),
                plans=PLANS,
                arrangement=arrangement,
            )
        )
        inside = ARRANGEMENTS[arrangement].inside
        pids = {name: stack.services[name].pid for name in SERVICES if name not in inside}
        pids |= {"postgres": postgres.pid, "valkey": valkey.pid}
        yield Measured(
            f"{stack.rest}/v1/chat/completions",
            {name: psutil.Process(pid) for name, pid in pids.items() if pid},
            await enter(aiohttp.ClientSession(headers=stack.headers)),
        )


async def measure(measured: Measured, direct: str, requests: int) -> dict[str, float]:
    """One round: every figure, by its name."""
    before = measured.cpu()
    await asyncio.sleep(REST_S)
    found = {f"rest {name}": (ms - before[name]) / REST_S for name, ms in measured.cpu().items()}
    for clients in CLIENTS:
        alone = spread(await ask(measured.session, direct, "small", clients, requests))
        before, began = measured.cpu(), time.perf_counter()
        with_us = spread(await ask(measured.session, measured.url, "auto", clients, requests))
        found[f"{clients} rate"] = requests / (time.perf_counter() - began)
        found |= {f"{clients} {name}": (ms - before[name]) / requests for name, ms in measured.cpu().items()}
        found[f"{clients} p50"], found[f"{clients} p99"] = with_us
        found[f"{clients} added p50"], found[f"{clients} added p99"] = (
            ours - theirs for ours, theirs in zip(with_us, alone, strict=True)
        )
    alone_first = statistics.median(
        await stream(measured.session, direct, f"drips-sim-tokens-{CHUNKS}-drip-10")
    )
    before = measured.cpu()
    first = await stream(measured.session, measured.url, "drips")
    found |= {f"chunk {name}": (ms - before[name]) / STREAMS / CHUNKS for name, ms in measured.cpu().items()}
    found["first added"] = statistics.median(first) - alone_first
    found |= {f"MiB {name}": p.memory_info().rss / 2**20 for name, p in measured.processes.items()}
    return found


def report(arrangement: str, rounds: Sequence[Mapping[str, float]]) -> None:
    """Print the medians of one arrangement's rounds."""
    middle = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
    ours = [name for name in OURS if f"MiB {name}" in middle]

    def of_ours(what: str) -> list[float]:
        return [sum(one[f"{what} {name}"] for name in ours) for one in rounds]

    print(f"\n{arrangement}: medians of {len(rounds)} rounds, lowest to highest in brackets\n")
    print("| clients | CPU ms a request of the services | added p50, ms | added p99 | a second |")
    print("| --- | --- | --- | --- | --- |")
    for clients in CLIENTS:
        cpu = of_ours(str(clients))
        print(
            f"| {clients} | {statistics.median(cpu):.2f} ({min(cpu):.2f} to {max(cpu):.2f}) "
            f"| {middle[f'{clients} added p50']:.1f} | {middle[f'{clients} added p99']:.1f} "
            f"| {middle[f'{clients} rate']:.0f} |"
        )
    chunk, rest = statistics.median(of_ours("chunk")), statistics.median(of_ours("rest"))
    print(f"\nat rest {rest:.0f} ms of CPU a second")
    print(f"{STREAMS} streams of {CHUNKS} chunks: {chunk:.3f} ms of CPU a chunk, ", end="")
    print(f"first token {middle['first added']:.1f} ms later")
    print(f"\n| process | CPU ms a request ({CLIENTS[-1]} clients) | resident MiB |\n| --- | --- | --- |")
    for name in (name.removeprefix("MiB ") for name in middle if name.startswith("MiB ")):
        print(f"| {name} | {middle[f'{CLIENTS[-1]} {name}']:.2f} | {middle[f'MiB {name}']:.0f} |")
    print(f"| the services | {statistics.median(of_ours(str(CLIENTS[-1]))):.2f} ", end="")
    print(f"| {statistics.median(of_ours('MiB')):.0f} |", flush=True)


async def main(requests: int, rounds: int, arrangements: Sequence[str]) -> None:
    folder = Path(tempfile.mkdtemp(prefix="lumni-bench-"))
    folder.chmod(0o711)
    found: dict[str, list[dict[str, float]]] = defaultdict(list)
    try:
        async with AsyncExitStack() as ends:
            provider = await ends.enter_async_context(simulator.spawned())
            direct = f"{provider.url}/v1/chat/completions"
            measured = {
                name: await ends.enter_async_context(running(folder, name, provider.url))
                for name in arrangements
            }
            for one in measured.values():
                await ask(one.session, one.url, "auto", 4, 200)
            for number in range(rounds):
                # The other way round every second time.
                for name in list(measured)[:: -1 if number % 2 else 1]:
                    found[name].append(await measure(measured[name], direct, requests))
        for name, all_rounds in found.items():
            report(name, all_rounds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--requests", type=int, default=1000, help="in each round, for each number of clients"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--arrangements", default="apart,together", help=f"of {', '.join(ARRANGEMENTS)}")
    given = parser.parse_args()
    asyncio.run(main(given.requests, given.rounds, given.arrangements.split(",")))
