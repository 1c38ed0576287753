"""What does the road cost? CPU, latency, streams and memory of each arrangement, and which stage takes the time.

    .venv/bin/python -m tests.bench.road [--short] [--arrangements apart,together] [--plot FILE]    (make bench)

Everything is real and on: PostgreSQL, Valkey, the ledger, limits, traces into nowhere; only the provider is the
simulator, in a process of its own. Each arrangement has stores and a ledger of its own, all run at the same time and are
measured in turns, so that what else the machine does meets all of them; what is shown is the median of the rounds. The
same client asks the simulator directly in each round, so that what is added is a difference and not a claim.
"""

import argparse
import json
import shutil
import statistics
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
import uvloop

from services.gateway.migrate import migrate
from services.local.postgres import Postgres
from services.local.server import started
from services.local.valkey import Valkey
from tests import simulator
from tests.bench import load, plot
from tests.bench.load import DRIPS, TRICKLES, Target
from tests.bench.rounds import SHORT, Extent, measure, median, parts, shown
from tests.flow import stack as stacks
from tests.flow.stack import ARRANGEMENTS, FLEET

OURS = ("gateway", "classifier", "selector", "executor")
SERVICES = (*OURS, "ledger")
# Models that stream, behind a name of their own each.
STREAMING = "\n".join(
    f"""  - model_name: {name}
    litellm_params: {{{{model: openai/{model}, api_base: "{{simulator}}/v1", api_key: os.environ/SIMULATOR_KEY}}}}
    model_info: {{{{input_cost_per_token: 0.0005, output_cost_per_token: 0.001, max_input_tokens: 8192, priority: 0, access_groups: [all]}}}}"""
    for name, model in (("drips", DRIPS), ("trickles", TRICKLES))
)
# For streams of so many tokens.
PLANS = stacks.PLANS.replace("max_output_tokens: 256", "max_output_tokens: 1024")
# Requests of a lone client whose stages are read from the log.
STAGED = 100


@dataclass
class Running:
    """One arrangement that runs."""

    target: Target
    # What is Lumni's own, without ledger and stores.
    processes: Mapping[str, psutil.Process]
    logs: Sequence[Path]


def provider_target(url: str) -> Target:
    """The simulator itself, asked as Lumni is."""
    session = load.open_session({"authorization": "Bearer sk-sim"})
    return Target(f"{url}/v1/chat/completions", session, "small", DRIPS, TRICKLES)


@asynccontextmanager
async def running(folder: Path, arrangement: str, provider: str) -> AsyncIterator[Running]:
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
                fleet=FLEET.replace("router_settings:", f"{STREAMING}\nrouter_settings:"),
                plans=PLANS,
                arrangement=arrangement,
            )
        )
        own = [name for name in OURS if name not in ARRANGEMENTS[arrangement].inside]
        pids = {name: stack.services[name].pid for name in own}
        session = await enter(load.open_session(stack.headers))
        yield Running(
            Target(f"{stack.rest}/v1/chat/completions", session, "auto", "drips", "trickles"),
            {name: psutil.Process(pid) for name, pid in pids.items() if pid},
            [folder / arrangement / f"{name}.log" for name in own],
        )


async def stages(one: Running) -> dict[str, float]:
    """Milliseconds that each process says a lone client's request took in it, the gateway's with all others."""
    begins = {log: log.stat().st_size for log in one.logs}
    await load.ask(one.target, 1, STAGED)
    took: dict[str, list[float]] = defaultdict(list)
    for log, begin in begins.items():
        with log.open("rb") as lines:
            lines.seek(begin)
            for line in lines:
                said = json.loads(line)
                if "duration_ms" in said:
                    took[said["service"]].append(said["duration_ms"])
    return {f"stage {name}": statistics.median(took[name]) for name in OURS if took[name]}


def report(arrangement: str, rounds: Sequence[Mapping[str, float]], extent: Extent) -> None:
    """Print the medians of one arrangement's rounds."""
    print(f"\n{arrangement}: medians of {len(rounds)} rounds, lowest to highest in brackets\n")
    print("| clients | CPU ms a request | added p50, ms | p95 | p99 | p99 / p50 | a second | refused |")
    print("| --- " * 8 + "|")
    for clients in extent.clients:
        added = " | ".join(shown(rounds, f"{clients} added {name}") for name in ("p50", "p95", "p99"))
        tail = median(rounds, f"{clients} p99") / median(rounds, f"{clients} p50")
        print(
            f"| {clients} | {shown(rounds, *parts(rounds, f'{clients} CPU'), digits=2)} | {added} "
            f"| {tail:.1f} | {shown(rounds, f'{clients} rate', digits=0)} | {median(rounds, f'{clients} failed'):.1%} |"
        )
    if extent.seconds:
        print(f"\nhighest rate that adds at most {load.ADDED_P99_MS:g} ms to p99: ", end="")
        print(f"{shown(rounds, 'highest rate', digits=0)} requests a second")
    print(
        f"\n{extent.streams} streams of {load.CHUNKS} chunks {load.DRIP_MS} ms apart: "
        f"{shown(rounds, *parts(rounds, 'chunk CPU'), digits=3)} ms of CPU a chunk, "
        f"first token {shown(rounds, 'first added')} ms later"
    )
    if extent.held:
        print(
            f"{extent.held} streams at once, chunks {load.HELD_DRIP_MS} ms apart: {shown(rounds, 'held', digits=0)} held, "
            f"{shown(rounds, 'held CPU', digits=0)} ms of CPU a second"
        )
    print(f"at rest {shown(rounds, *parts(rounds, 'rest CPU'), digits=0)} ms of CPU a second")
    memory = ", ".join(
        f"{shown(rounds, f'MiB {when}', digits=0)} {when}" for when in ("at rest", "under load", "after")
    )
    print(f"resident MiB: {memory}")
    stage = ", ".join(
        f"{name.removeprefix('stage ')} {shown(rounds, name)}" for name in parts(rounds, "stage")
    )
    print(f"ms of a lone client's request in each service, the gateway's with all others: {stage}")
    busiest = extent.clients[min(1, len(extent.clients) - 1)]
    by_process = ", ".join(
        f"{name.removeprefix(f'{busiest} CPU ')} {shown(rounds, name, digits=2)}"
        for name in parts(rounds, f"{busiest} CPU")
    )
    print(f"CPU ms a request by process at {busiest} clients: {by_process}", flush=True)


async def main(extent: Extent, arrangements: Sequence[str], picture: Path | None) -> None:
    folder = Path(tempfile.mkdtemp(prefix="lumni-bench-"))
    folder.chmod(0o711)
    found: dict[str, list[dict[str, float]]] = defaultdict(list)
    try:
        async with AsyncExitStack() as ends:
            provider = await ends.enter_async_context(simulator.spawned())
            direct = provider_target(provider.url)
            await ends.enter_async_context(direct.session)
            under_test = {
                name: await ends.enter_async_context(running(folder, name, provider.url))
                for name in arrangements
            }
            for one in under_test.values():
                await load.ask(one.target, 4, 200)
            for number in range(extent.rounds):
                # The other way round every second time.
                for name in list(under_test)[:: -1 if number % 2 else 1]:
                    one = under_test[name]
                    figures = await measure(one.target, direct, one.processes, extent)
                    found[name].append(figures | await stages(one))
        cores, now = psutil.cpu_count(), datetime.now(UTC)
        print(f"{now:%d %B %Y}, {cores} cores, load average {psutil.getloadavg()[1]:.1f}")
        for name, rounds in found.items():
            report(name, rounds, extent)
        if picture is not None:
            plot.draw(found, extent.clients, picture)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="one small round, to see whether it works")
    parser.add_argument("--arrangements", default=",".join(ARRANGEMENTS), help="the default is all of them")
    parser.add_argument("--plot", type=Path, help="file of a plot, .svg or .png")
    given = parser.parse_args()
    uvloop.run(main(SHORT if given.short else Extent(), given.arrangements.split(","), given.plot))
