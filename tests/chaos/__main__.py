"""Faults over a network: python -m tests.chaos [--drill NAME ...] [--rate 100] [--streams 50], or `make chaos`.

Every process of Lumni runs on a host of its own in network namespaces, behind HAProxy. While callers ask at a steady rate
and hold streams, something fails; then each answer is compared with what the provider sent, each failed request needs a
reason, and every bill is counted again. The exit code is 1 when something was wrong.
"""

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import uvloop

from services.local.server import Failed
from tests import tools
from tests.chaos import cluster as clusters
from tests.chaos import hosts
from tests.chaos.cluster import HostedCluster
from tests.chaos.drills import DRILLS, OWN
from tests.chaos.report import written
from tests.chaos.scene import Scene
from tests.chaos.traffic import Traffic
from tests.chaos.verdict import Verdict, judge
from tests.faults.load import make_keys

# What is wanted, and how much of it a core can take that Lumni, provider, proxy, switch and callers share.
RATE, STREAMS = 100, 50
RATE_A_CORE, STREAMS_A_CORE = 10, 8
KEPT = 1_000_000
MINUTES, SOAK_MINUTES = 10, 30
# Before and after a fault.
QUIET_S = 3


def arguments() -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--drill", action="append", choices=DRILLS, help="one of them; several may be given")
    parser.add_argument(
        "--rate", type=float, help=f"requests a second; {RATE}, but at most {RATE_A_CORE} for each core"
    )
    parser.add_argument(
        "--streams",
        type=int,
        help=f"streams held at once; {STREAMS}, but at most {STREAMS_A_CORE} for each core",
    )
    parser.add_argument("--seconds", type=float, default=15, help="that a fault lasts")
    parser.add_argument(
        "--minutes",
        type=float,
        help=f"of what happens once a minute ({MINUTES}), and of the soak ({SOAK_MINUTES})",
    )
    parser.add_argument(
        "--redis-deadline",
        type=float,
        default=0,
        help="seconds in place of the services' own deadlines for Redis, which a machine that does much else misses",
    )
    parser.add_argument("--report", type=Path, help="the file that a report in Markdown is written to")
    return parser.parse_args()


async def main(given: argparse.Namespace) -> int:
    """Run the drills; the folder of all logs is kept when something was wrong."""
    verdicts: list[Verdict] = []
    folder = Path(tempfile.mkdtemp(prefix="lumni-chaos-"))
    # PostgreSQL does not run as root, and must get through.
    folder.chmod(0o711)
    try:
        async with (
            hosts.network(clusters.HOSTS) as network,
            clusters.running(folder, network, keep=KEPT, redis_s=given.redis_deadline) as cluster,
        ):
            async for verdict in _drilled(given, cluster):
                verdicts.append(verdict)
                print(written([verdict]), flush=True)
                if given.report:
                    given.report.parent.mkdir(parents=True, exist_ok=True)
                    given.report.write_text(written(verdicts))
    except (hosts.NotAllowed, tools.Absent, asyncio.CancelledError):
        shutil.rmtree(folder)
        raise
    if any(verdict.problems for verdict in verdicts):
        print(f"logs: {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


async def _drilled(given: argparse.Namespace, cluster: HostedCluster) -> AsyncGenerator[Verdict, None]:
    """What became of one drill after the other, up to the first that could not go on."""
    keys = await make_keys(cluster)
    known: set[str] = set()
    for name in given.drill or DRILLS:
        traffic = Traffic(f"{cluster.proxy.url}/v1/chat/completions", keys)
        scene = Scene(cluster, traffic, given.seconds, minutes(name, given))
        began = time.monotonic()
        rate, streams = _amount(name, given)
        scene.say(f"{rate:.3g} requests a second and {streams} streams at once, on {os.cpu_count()} cores")
        async with traffic.flowing(rate, streams):
            await scene.flow(QUIET_S)
            try:
                await DRILLS[name](scene)
            except (Failed, TimeoutError, AssertionError) as error:
                scene.stuck = f"the drill could not go on: {error!r}"
            await scene.flow(QUIET_S)
        verdict = await judge(scene, name, time.monotonic() - began, known=frozenset(known))
        known.update(verdict.problems)
        yield verdict
        if scene.stuck:
            return


def minutes(name: str, given: argparse.Namespace) -> float:
    """How long a drill goes on, where it has no end of its own."""
    asked: float | None = given.minutes
    return asked or (SOAK_MINUTES if name == "soak" else MINUTES)


def _amount(name: str, given: argparse.Namespace) -> tuple[float, int]:
    """Requests a second and streams held: what the drill is about, unless a rate was given."""
    if name in OWN and given.rate is None:
        a_minute, streams = OWN[name]
        return a_minute / 60, streams
    return given.rate or _default(RATE, RATE_A_CORE), given.streams or _default(STREAMS, STREAMS_A_CORE)


def _default(wanted: int, a_core: int) -> int:
    return min(wanted, a_core * (os.cpu_count() or 1))


if __name__ == "__main__":
    try:
        sys.exit(uvloop.run(main(arguments())))
    except (hosts.NotAllowed, tools.Absent) as problem:
        print(f"chaos: skipped, {problem}")
    except KeyboardInterrupt:
        print("chaos: stopped")
        sys.exit(130)
