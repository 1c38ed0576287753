"""What does the road cost? CPU per request by process, and the latency it adds to the provider's.

    .venv/bin/python -m tests.bench.road [--requests 3000]

Everything is real and on: PostgreSQL, Valkey, the ledger, limits, traces into nowhere; only the provider is the
simulator, in a process of its own. Requests are short and not streamed. The same client asks the simulator directly
in the same run, so that what is added is a difference and not a claim.
"""

import argparse
import asyncio
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import aiohttp
import psutil

from services.gateway.migrate import migrate
from services.local.postgres import Postgres
from services.local.server import started
from services.local.valkey import Valkey
from tests import simulator
from tests.flow import stack as stacks

QUESTION = {"messages": [{"role": "user", "content": "Which planet is the largest, and how large is it?"}]}
SERVICES = ("gateway", "classifier", "selector", "executor", "ledger")


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


def cpu(process: psutil.Process) -> float:
    """Seconds of CPU so far, children included."""
    times = [p.cpu_times() for p in (process, *process.children(recursive=True))]
    return sum(t.user + t.system for t in times)


def spread(taken: list[float]) -> tuple[float, float]:
    """Median and 99th percentile."""
    cuts = statistics.quantiles(taken, n=100)
    return cuts[49], cuts[98]


async def main(requests: int) -> None:
    folder = Path(tempfile.mkdtemp(prefix="lumni-bench-"))
    folder.chmod(0o711)
    try:
        async with (
            started(Postgres(folder / "postgres")) as postgres,
            started(Valkey(folder / "valkey")) as valkey,
            simulator.spawned() as provider,
        ):
            await migrate(postgres.url)
            async with (
                stacks.running(
                    folder / "stack", database=postgres.url, valkey=valkey, simulator=provider.url
                ) as stack,
                aiohttp.ClientSession(headers=stack.headers) as session,
            ):
                direct = f"{provider.url}/v1/chat/completions"
                through = f"{stack.rest}/v1/chat/completions"
                pids = {name: stack.services[name].pid for name in SERVICES}
                pids |= {"postgres": postgres.pid, "valkey": valkey.pid}
                processes = {name: psutil.Process(pid) for name, pid in pids.items() if pid}
                for url in (direct, through):
                    await ask(session, url, "small", 4, 200)

                print(
                    "| clients | direct p50 | direct p99 | through p50 | through p99 | added p50 | added p99 | a second |"
                )
                print("| --- | --- | --- | --- | --- | --- | --- | --- |")
                for clients in (1, 16):
                    alone = spread(await ask(session, direct, "small", clients, requests))
                    before = {name: cpu(process) for name, process in processes.items()}
                    began = time.perf_counter()
                    with_us = spread(await ask(session, through, "auto", clients, requests))
                    rate = requests / (time.perf_counter() - began)
                    print(
                        f"| {clients} | {alone[0]:.2f} | {alone[1]:.2f} | {with_us[0]:.2f} | {with_us[1]:.2f} "
                        f"| {with_us[0] - alone[0]:.2f} | {with_us[1] - alone[1]:.2f} | {rate:.0f} |",
                        flush=True,
                    )
                spent = {name: (cpu(p) - before[name]) / requests * 1000 for name, p in processes.items()}
                print("\n| process (16 clients) | CPU ms a request | resident MiB |\n| --- | --- | --- |")
                for name, process in processes.items():
                    resident = process.memory_info().rss / 2**20
                    print(f"| {name} | {spent[name]:.2f} | {resident:.0f} |")
                print(f"| all | {sum(spent.values()):.2f} | |")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=3000)
    asyncio.run(main(parser.parse_args().requests))
