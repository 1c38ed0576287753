"""What does an answer from the cache add to a bare HTTP request of the same gateway?

    .venv/bin/python -m tests.bench.cache [--requests 200] [--rounds 31]

All services run in one process, with PostgreSQL, Valkey and the ledger; the provider is the simulator. One client asks for
its life, with a key that nobody has, and for an answer that is in the cache, in turns, forwards and backwards, so that what
else the machine does meets all of them. What is shown are medians over the rounds: of the median latency, of the latency of
the fastest, which is what a request takes while nothing else wants the cores, and of the CPU of Lumni's process, what it
does after the answer included.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from collections import defaultdict
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import psutil
import uvloop

from services.gateway.migrate import migrate
from services.local.postgres import Postgres
from services.local.server import started
from services.local.valkey import Valkey
from tests import simulator
from tests.bench import load
from tests.bench.processes import cpu_ms
from tests.flow import stack as stacks

BODY = {"model": "small", "temperature": 0, "messages": load.MESSAGES}
LIVE, REFUSED, HIT = "GET /health/live", "the same request, refused: unknown key", "a hit"
# The share of requests that are the fastest.
FASTEST = 0.02
# How often the first answer is asked for until it is kept.
TRIES = 50


@dataclass(frozen=True)
class Asked:
    """One kind of request, and what shows that it was answered as such."""

    method: str
    url: str
    status: int
    key: str = ""
    result: str = ""

    async def once(self, session: aiohttp.ClientSession) -> bool:
        """Send it and read the answer; whether that is the expected one."""
        headers = {"authorization": self.key} if self.key else {}
        body = BODY if self.method == "POST" else None
        async with session.request(self.method, self.url, json=body, headers=headers) as response:
            await response.read()
        return (response.status, response.headers.get("x-lumni-cache", "")) == (self.status, self.result)


async def measured(
    asked: Asked, session: aiohttp.ClientSession, process: psutil.Process, requests: int
) -> tuple[float, float, float]:
    """The median latency, that of the fastest, and the CPU of Lumni's process per request, in milliseconds."""
    took = []
    before = cpu_ms(process)
    for _ in range(requests):
        began = time.perf_counter()
        assert await asked.once(session), asked
        took.append((time.perf_counter() - began) * 1000)
    spent = (cpu_ms(process) - before) / requests
    return statistics.median(took), load.percentile(took, FASTEST), spent


async def main(requests: int, rounds: int) -> None:
    folder = Path(tempfile.mkdtemp(prefix="lumni-bench-"))
    folder.chmod(0o711)
    try:
        async with AsyncExitStack() as ends:
            enter = ends.enter_async_context
            provider = await enter(simulator.spawned())
            postgres = await enter(started(Postgres(folder / "postgres")))
            valkey = await enter(started(Valkey(folder / "valkey")))
            await migrate(postgres.url)
            stack = await enter(
                stacks.running(
                    folder / "together",
                    database=postgres.url,
                    valkey=valkey,
                    simulator=provider.url,
                    extra={"LUMNI_CACHE_KEY": "a-key-of-the-benchmark-for-what-is-cached"},
                    arrangement="together",
                )
            )
            session = await enter(load.open_session({}))
            url = f"{stack.rest}/v1/chat/completions"
            kinds = {
                LIVE: Asked("GET", f"{stack.rest}/health/live", 200),
                REFUSED: Asked("POST", url, 401, "Bearer sk-lumni-nobody"),
                HIT: Asked("POST", url, 200, stack.headers["authorization"], "hit"),
            }
            for _ in range(TRIES):
                if await kinds[HIT].once(session):
                    break
            process = psutil.Process(stack.services["gateway"].pid)
            for asked in kinds.values():
                await measured(asked, session, process, requests)
            found: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
            for number in range(rounds):
                # The other way round every second time.
                for name in list(kinds)[:: -1 if number % 2 else 1]:
                    found[name].append(await measured(kinds[name], session, process, requests))
        cores, now = psutil.cpu_count(), datetime.now(UTC)
        print(f"{now:%d %B %Y}, {cores} cores, load average {psutil.getloadavg()[1]:.1f}")
        report(found)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def report(found: dict[str, list[tuple[float, float, float]]]) -> None:
    """Print each kind's medians, and what a hit adds to the others in the same round."""
    rounds = len(found[HIT])
    print(f"one client, medians of {rounds} rounds, lowest to highest in brackets\n")
    print("| request | p50, ms | a hit adds | the fastest, ms | a hit adds | CPU, ms | a hit adds |")
    print("| --- " * 7 + "|")
    for name, figures in found.items():
        cells = []
        for part in range(3):
            cells.append(shown([one[part] for one in figures]))
            added = [hit[part] - one[part] for hit, one in zip(found[HIT], figures, strict=True)]
            cells.append(shown(added) if name != HIT else "")
        print(f"| {name} | {' | '.join(cells)} |")


def shown(values: list[float]) -> str:
    """The median, with the lowest and the highest in brackets."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=200, help="of each kind in each round")
    parser.add_argument("--rounds", type=int, default=31)
    given = parser.parse_args()
    uvloop.run(main(given.requests, given.rounds))
