"""What does telemetry cost, and what if those who take it are frozen or gone?

    .venv/bin/python -m tests.bench.tracing [--requests 320] [--rounds 9] [--share 0.1]

Stacks of one process each run at the same time, with stores of their own, and are asked in turns, forwards and backwards,
so that what else the machine does meets all of them. What is shown are medians over the rounds: CPU per request and
requests a second, and how each differs, in the same round, from no traces and from collector and Portkey that answer.
"""

import argparse
import asyncio
import shutil
import socket
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import aiohttp
import psutil

from services.gateway.migrate import migrate
from services.local.postgres import Postgres
from services.local.server import started
from services.local.valkey import Valkey
from tests import portkey, simulator
from tests.bench.processes import cpu_ms
from tests.flow import stack as stacks
from tests.otlp import collecting

CLIENTS = 16
QUESTION = {
    "model": "auto",
    "messages": [{"role": "user", "content": "Which planet is the largest, and how large is it?"}],
}
MIB = 1024 * 1024
NO_TRACES = "no traces"
ANSWERING = "the same, and attempts to Portkey"
FROZEN = "collector, Portkey, Prometheus frozen"
KEY = "pk-bench"
SCRAPERS = 4


class Running(NamedTuple):
    """All services in one process."""

    url: str
    process: psutil.Process
    metrics: tuple[str, int]


def _exported(share: float, collector: str, portkey_address: str = "") -> dict[str, str]:
    to_collector = {"OTEL_TRACES_SAMPLER_ARG": str(share), "OTEL_EXPORTER_OTLP_ENDPOINT": collector}
    if not portkey_address:
        return to_collector
    return to_collector | {
        "PORTKEY_API_KEY": KEY,
        "LUMNI_PORTKEY_FORMAT": "logs",
        "LUMNI_PORTKEY_LOGS": f"{portkey_address}/v1/logs",
    }


def _more(values: Sequence[float], others: Sequence[float]) -> float:
    """The median of the rounds' differences, as a share."""
    return statistics.median(value / other - 1 for value, other in zip(values, others, strict=True))


@asynccontextmanager
async def one_process(folder: Path, provider: str, extra: Mapping[str, str]) -> AsyncIterator[Running]:
    """Run one, with stores of its own."""
    folder.mkdir(mode=0o711)
    async with (
        started(Postgres(folder / "postgres")) as postgres,
        started(Valkey(folder / "valkey")) as valkey,
    ):
        await migrate(postgres.url)
        async with stacks.running(
            folder / "stack",
            database=postgres.url,
            valkey=valkey,
            simulator=provider,
            extra=extra,
            arrangement="together",
        ) as stack:
            metrics = urlsplit(stack.metrics["gateway"])
            yield Running(
                f"{stack.rest}/v1/chat/completions",
                psutil.Process(stack.services["gateway"].pid),
                (str(metrics.hostname), metrics.port or 0),
            )


async def ask(session: aiohttp.ClientSession, url: str, requests: int) -> None:
    """Ask from all clients at once."""

    async def client() -> None:
        for _ in range(requests // CLIENTS):
            async with session.post(url, json=QUESTION) as answer:
                assert answer.status == 200, await answer.text()

    await asyncio.gather(*(client() for _ in range(CLIENTS)))


async def main(requests: int, rounds: int, share: float) -> None:
    """Measure and print."""
    # As many for each client.
    requests = max(requests // CLIENTS, 1) * CLIENTS
    folder = Path(tempfile.mkdtemp(prefix="lumni-tracing-"))
    folder.chmod(0o711)
    async with AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        collector = stack.enter_context(collecting())
        answering = stack.enter_context(portkey.serving(KEY))
        # It takes connections and never answers.
        frozen = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=128))
        # Nobody listens there.
        gone = stack.enter_context(closing(socket.socket()))
        gone.bind(("127.0.0.1", 0))
        frozen_url, gone_url = (f"http://127.0.0.1:{one.getsockname()[1]}" for one in (frozen, gone))
        traced = f"{share:.0%} of traces"
        variants = {
            NO_TRACES: {},
            traced: _exported(share, collector.address),
            ANSWERING: _exported(share, collector.address, answering.address),
            FROZEN: _exported(share, frozen_url, frozen_url),
            "collector and Portkey gone": _exported(share, gone_url, gone_url),
        }
        provider = await stack.enter_async_context(simulator.spawned())
        session = await stack.enter_async_context(
            aiohttp.ClientSession(headers={"authorization": f"Bearer {stacks.API_KEY}"})
        )
        running = {
            name: await stack.enter_async_context(one_process(folder / str(number), provider.url, extra))
            for number, (name, extra) in enumerate(variants.items())
        }
        # A Prometheus that asks for metrics and never reads them.
        for _ in range(SCRAPERS):
            scraper = stack.enter_context(socket.create_connection(running[FROZEN].metrics))
            scraper.sendall(b"GET /metrics HTTP/1.1\r\nHost: lumni\r\n\r\n")
        cpu: dict[str, list[float]] = defaultdict(list)
        rate: dict[str, list[float]] = defaultdict(list)
        for turn in range(rounds + 1):
            print(f"round {turn} of {rounds}", flush=True)
            for name in variants if turn % 2 else reversed(variants):
                one = running[name]
                before, began = cpu_ms(one.process), time.perf_counter()
                await ask(session, one.url, requests)
                # The first turn warms up.
                if turn:
                    rate[name].append(requests / (time.perf_counter() - began))
                    cpu[name].append((cpu_ms(one.process) - before) / requests)
        print(f"{'':36} CPU a request    requests a second   resident")
        for name in variants:
            print(
                f"{name:36} {statistics.median(cpu[name]):6.2f} ms"
                f" {_more(cpu[name], cpu[NO_TRACES]):+6.1%}"
                f" {statistics.median(rate[name]):8.1f} {_more(rate[name], rate[ANSWERING]):+6.1%}"
                f" {running[name].process.memory_info().rss / MIB:8.0f} MiB"
            )
        print(f"spans delivered: {collector.count}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=320)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--share", type=float, default=0.1)
    chosen = parser.parse_args()
    asyncio.run(main(chosen.requests, chosen.rounds, chosen.share))
