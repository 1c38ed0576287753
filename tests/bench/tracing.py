"""What do traces cost? CPU per request without them, at a sampled share, and with a collector that is frozen.

    .venv/bin/python -m tests.bench.tracing [--requests 300] [--rounds 5] [--share 0.1]

Three stacks of one process each run at the same time, with stores of their own, and are asked in turns, so that what else
the machine does meets all of them. What is shown is the median over the rounds, of each round's difference as well.
"""

import argparse
import asyncio
import shutil
import socket
import statistics
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import psutil

from services.gateway.migrate import migrate
from services.local.postgres import Postgres
from services.local.server import started
from services.local.valkey import Valkey
from tests import simulator
from tests.bench.processes import cpu_ms
from tests.flow import stack as stacks
from tests.otlp import collecting

CLIENTS = 16
QUESTION = {
    "model": "auto",
    "messages": [{"role": "user", "content": "Which planet is the largest, and how large is it?"}],
}
MIB = 1024 * 1024


@asynccontextmanager
async def one_process(
    folder: Path, provider: str, extra: Mapping[str, str]
) -> AsyncIterator[tuple[str, psutil.Process]]:
    """All services in one process, with stores of their own: where to ask, and the process."""
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
            yield f"{stack.rest}/v1/chat/completions", psutil.Process(stack.services["gateway"].pid)


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
        # It takes connections and never answers.
        frozen = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=128))
        sampled = {"OTEL_TRACES_SAMPLER_ARG": str(share)}
        variants: Mapping[str, Mapping[str, str]] = {
            "no traces": {},
            f"{share:.0%} of traces": {**sampled, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.address},
            f"{share:.0%}, collector frozen": {
                **sampled,
                "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{frozen.getsockname()[1]}",
            },
        }
        provider = await stack.enter_async_context(simulator.spawned())
        session = await stack.enter_async_context(
            aiohttp.ClientSession(headers={"authorization": f"Bearer {stacks.API_KEY}"})
        )
        running = {
            name: await stack.enter_async_context(one_process(folder / str(number), provider.url, extra))
            for number, (name, extra) in enumerate(variants.items())
        }
        taken: dict[str, list[float]] = defaultdict(list)
        for turn in range(rounds + 1):
            print(f"round {turn} of {rounds}", flush=True)
            for name, (url, process) in running.items():
                before = cpu_ms(process)
                await ask(session, url, requests)
                # The first turn warms up.
                if turn:
                    taken[name].append((cpu_ms(process) - before) / requests)
        base = taken["no traces"]
        for name, values in taken.items():
            more = statistics.median(value / without - 1 for value, without in zip(values, base, strict=True))
            resident = running[name][1].memory_info().rss / MIB
            print(f"{name:24} {statistics.median(values):6.3f} ms CPU, {more:+7.1%}, {resident:.0f} MiB")
        print(f"spans delivered: {collector.count}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--share", type=float, default=0.1)
    chosen = parser.parse_args()
    asyncio.run(main(chosen.requests, chosen.rounds, chosen.share))
