"""What do other gateways cost for the same? The figures of each, and Lumni's as ratios of theirs.

    .venv/bin/python -m tests.bench.peers [--short] [--peers litellm,portkey] [--arrangements together,apart]
    (make bench-peers)

One provider (the simulator) and one client for all; each gateway is measured in turns with the others. Lumni has
everything on: keys, limits, classification, selection, a ledger in PostgreSQL. The others have what they run with out of the
box: LiteLLM's proxy one key and no database, Portkey's gateway neither. `litellm-workers` and `workers` have as many
processes as each other, to compare what a machine answers a second. A gateway that cannot be installed is left out,
and why is said.
"""

import argparse
import math
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import psutil
import uvloop

from services.local.server import Failed
from tests import simulator
from tests.bench import load, road
from tests.bench.peers import gateways
from tests.bench.peers.installed import Absent
from tests.bench.road import Running
from tests.bench.rounds import Extent, measure, median, parts, shown

LONG = Extent(clients=(1, 16, 64), seconds=0, held=0)
SHORT = Extent(rounds=2, requests=256, clients=(1, 16), seconds=0, held=0)

Rounds = Sequence[Mapping[str, float]]


def figures(extent: Extent, rounds: Rounds) -> dict[str, Sequence[str]]:
    """The parts of each figure that is compared, by what it is called."""
    return {
        **{f"CPU ms a request, {n} clients": parts(rounds, f"{n} CPU") for n in extent.clients},
        **{f"p50 ms, {n} clients": [f"{n} p50"] for n in extent.clients},
        **{f"p99 ms, {n} clients": [f"{n} p99"] for n in extent.clients},
        **{f"requests a second, {n} clients": [f"{n} rate"] for n in extent.clients},
        **{f"share refused or failed, {n} clients": [f"{n} failed"] for n in extent.clients},
        "share of streams that failed": ["streams failed"],
        "CPU ms a streamed chunk": parts(rounds, "chunk CPU"),
        "first token added, ms": ["first added"],
        "resident MiB at rest": ["MiB at rest"],
        "resident MiB under load": ["MiB under load"],
    }


def report(found: Mapping[str, Rounds], extent: Extent, ours: Sequence[str]) -> None:
    """Print every figure of every gateway, then ours divided by theirs."""
    own = {name: figures(extent, rounds) for name, rounds in found.items()}
    theirs = [name for name in found if name not in ours]
    print(f"\n| medians of {extent.rounds} rounds | " + " | ".join(found) + " |")
    print("| --- " * (len(found) + 1) + "|")
    labels = list(next(iter(own.values())))
    for label in labels:
        cells = " | ".join(shown(found[name], *own[name][label], digits=2) for name in found)
        print(f"| {label} | {cells} |")
    pairs = [(name, other) for name in ours if name in found for other in theirs]
    print("\n| ratio | " + " | ".join(f"{name} / {other}" for name, other in pairs) + " |")
    print("| --- " * (len(pairs) + 1) + "|")
    for label in labels:
        values = {name: sum(median(found[name], part) for part in own[name][label]) for name in found}
        cells = " | ".join(
            f"{values[name] / values[other]:.2f}" if 0 < values[other] < math.inf else "-"
            for name, other in pairs
        )
        print(f"| {label} | {cells} |", flush=True)


async def main(extent: Extent, arrangements: Sequence[str], peers: Sequence[str]) -> None:
    folder = Path(tempfile.mkdtemp(prefix="lumni-bench-"))
    folder.chmod(0o711)
    try:
        async with AsyncExitStack() as ends:
            enter = ends.enter_async_context
            provider = await enter(simulator.spawned())
            direct = road.provider_target(provider.url)
            await enter(direct.session)
            under_test: dict[str, Running] = {}
            for name in peers:
                try:
                    under_test[name] = await enter(gateways.running(folder / name, name, provider.url))
                except (Absent, Failed) as reason:
                    print(f"without {name}: {reason}", flush=True)
            ours = {f"Lumni {name}": name for name in arrangements}
            for shown_as, name in ours.items():
                under_test[shown_as] = await enter(road.running(folder, name, provider.url))
            for one in under_test.values():
                await load.ask(one.target, 4, 200)
            found: dict[str, list[dict[str, float]]] = defaultdict(list)
            for number in range(extent.rounds):
                # The other way round every second time.
                for name in list(under_test)[:: -1 if number % 2 else 1]:
                    one = under_test[name]
                    found[name].append(await measure(one.target, direct, one.processes, extent))
        now, cores = datetime.now(UTC), psutil.cpu_count()
        print(f"{now:%d %B %Y}, {cores} cores, load average {psutil.getloadavg()[1]:.1f}")
        report({name: found[name] for name in under_test}, extent, list(ours))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="two small rounds, some minutes")
    parser.add_argument("--arrangements", default="together,apart,workers", help="of Lumni's")
    parser.add_argument("--peers", default=",".join(gateways.PEERS), help="the default is all of them")
    given = parser.parse_args()
    uvloop.run(main(SHORT if given.short else LONG, given.arrangements.split(","), given.peers.split(",")))
