"""Fuzz all services, on a stack of their own: `make fuzz`, or `python -m tests.fuzz --minutes 1 --seed 7`.

Each RPC is searched in turn, with a seed that is printed, until the time is over. What fails is shrunk by hypothesis and
kept in `tests/fuzz/cases`; the answers' codes, the longest wait of a probe beside each search, and the memory of every
process are printed at the end.
"""

import argparse
import asyncio
import itertools
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from random import randrange

import grpc
import psutil
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import seed as seeded
from hypothesis.errors import HypothesisException

from services.chassis import rpc
from tests.faults import cluster as clusters
from tests.faults.cluster import Cluster
from tests.flow.stack import ADMIN_KEY
from tests.fuzz import cases, rpcs, served
from tests.fuzz.rpcs import Rpc

# Examples of one search, before the next method has its turn.
EXAMPLES = 100
# How often a probe asks, and what a service's loop may keep it waiting: the machine is ours alone meanwhile.
PROBE_S, LONGEST_WAIT_S = 0.005, 0.1
# Memory may grow by this share of its start, and by caches that fill: in bytes.
GROWTH, CACHES = 0.1, 64 * 2**20
MODELS = ("small", "large", "slow", "breaks", "cuts")


class Search:
    """Searches of all methods, and what they met."""

    def __init__(self, runner: asyncio.Runner, cluster: Cluster, addresses: dict[str, str]) -> None:
        self._runner = runner
        self._cluster = cluster
        self._channels = {name: served.channel(address) for name, address in addresses.items()}
        self._about = rpcs.known(MODELS, tuple(f"{model}@openai" for model in MODELS))
        self.codes: Counter[tuple[str, str]] = Counter()
        self.found: list[str] = []
        self.longest_wait_s: dict[str, float] = dict.fromkeys(rpcs.RPCS, 0.0)

    def search(self, method: Rpc, seed: int) -> None:
        """Look for a request of a method that is answered with a mistake of ours."""
        last: list[Message] = []

        @seeded(seed)
        @settings(
            max_examples=EXAMPLES, database=None, deadline=None, suppress_health_check=list(HealthCheck)
        )
        @given(rpcs.requests(method, self._about))
        def look(request: Message) -> None:
            last[:] = [request]
            self.codes[str(method), self._runner.run(self._call(method, request))] += 1

        try:
            look()
        except (AssertionError, HypothesisException) as mistake:
            # Hypothesis tries the smallest example last.
            path = cases.keep(str(method), last[0])
            self.found.append(f"{method}: {str(mistake).splitlines()[0][:200]} ({path}, seed {seed})")

    async def _call(self, method: Rpc, request: Message) -> str:
        channel = self._channels[method.served_by]
        probe = asyncio.create_task(self._probe(method, channel))
        try:
            return await rpcs.check(channel, method, request, {"authorization": f"Bearer {ADMIN_KEY}"})
        finally:
            probe.cancel()
            with suppress(asyncio.CancelledError):
                await probe

    async def _probe(self, method: Rpc, channel: grpc.aio.Channel) -> None:
        while True:
            began = time.perf_counter()
            await rpc.healthy(channel, "", rpc.Settings(), timeout_s=60)
            waited = time.perf_counter() - began
            self.longest_wait_s[str(method)] = max(self.longest_wait_s[str(method)], waited)
            await asyncio.sleep(PROBE_S)

    async def aclose(self) -> None:
        """Close the channels."""
        for channel in self._channels.values():
            await channel.close()


def main(arguments: Sequence[str]) -> int:
    """Search for so many minutes; 1 when something was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=randrange(2**32))
    given_ = parser.parse_args(arguments)
    print(f"seed {given_.seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="lumni-fuzz-"))
    folder.chmod(0o711)
    try:
        with asyncio.Runner() as runner:
            return _run(runner, folder, given_.minutes * 60, given_.seed)
    finally:
        shutil.rmtree(folder)


def _run(runner: asyncio.Runner, folder: Path, seconds: float, seed: int) -> int:
    running = clusters.running(folder, gateways=1, executors=1, ledgers=1)
    cluster = runner.run(running.__aenter__())
    try:
        addresses = {name.partition("-")[0]: listen for name, listen in cluster.listen.items()}
        addresses["keys"] = addresses["gateway"]
        search = runner.run(_made(runner, cluster, addresses))
        ends = time.monotonic() + seconds
        start: dict[str, int] = {}
        for turn in itertools.count():
            for method in rpcs.RPCS.values():
                search.search(method, seed + turn)
                if time.monotonic() > ends:
                    break
            # After the first round what is loaded late is there.
            start = start or _memory(cluster)
            if time.monotonic() > ends:
                break
        runner.run(search.aclose())
        return _report(search, start, _memory(cluster))
    finally:
        runner.run(running.__aexit__(None, None, None))


async def _made(runner: asyncio.Runner, cluster: Cluster, addresses: dict[str, str]) -> Search:
    return Search(runner, cluster, addresses)


def _memory(cluster: Cluster) -> dict[str, int]:
    return {
        name: psutil.Process(one.pid).memory_info().rss for name, one in cluster.services.items() if one.pid
    }


def _report(search: Search, start: dict[str, int], end: dict[str, int]) -> int:
    mistakes = list(search.found)
    for method in rpcs.RPCS:
        codes = {code: count for (name, code), count in search.codes.items() if name == method}
        wait_s = search.longest_wait_s[method]
        print(f"{method}: {sum(codes.values())} calls {codes}, a probe waited at most {wait_s * 1000:.0f} ms")
        if wait_s > LONGEST_WAIT_S:
            mistakes.append(f"{method}: a probe waited {wait_s * 1000:.0f} ms")
    for name, before in start.items():
        print(f"{name}: {before / 2**20:.0f} MiB after the first round, {end[name] / 2**20:.0f} at the end")
        if end[name] > before * (1 + GROWTH) + CACHES:
            mistakes.append(f"{name}: memory grew from {before} to {end[name]} bytes")
    print("\n".join(mistakes) or "nothing found")
    return 1 if mistakes else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
