"""Fuzz all services, on a stack of their own: `make fuzz`, or `python -m tests.fuzz --minutes 1 --seed 7`.

First each parser is searched by coverage, for a fifth of the time together. Then so many malformed bodies are sent over
HTTP, and each RPC and REST route is searched in turn, with a seed that is printed, until the time is over. What fails is shrunk by hypothesis and kept in
`tests/fuzz/cases`; the answers' codes, the longest wait of a probe beside each search, and the memory of every process
are printed at the end.
"""

import argparse
import asyncio
import itertools
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from random import randrange
from typing import Any

import grpc
import httpx
import psutil
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import seed as seeded
from hypothesis.errors import HypothesisException

from services.chassis import rpc
from services.chassis.rpc.settings import TOKEN_KEY
from tests.faults import cluster as clusters
from tests.faults.cluster import Cluster
from tests.flow.stack import ADMIN_KEY
from tests.fuzz import cases, parsers, rest, rpcs, served
from tests.fuzz.malformed import ROUTES, Malformed, fleet
from tests.fuzz.rpcs import Rpc

# What a caller shows the gateway, and a service the others.
SHOWN = {"authorization": f"Bearer {ADMIN_KEY}", TOKEN_KEY: clusters.SERVICE_TOKEN}
# Examples of one search, before the next method has its turn.
EXAMPLES = 100
# How often a probe asks, and what a service's loop may keep it waiting: the machine is ours alone meanwhile.
PROBE_S, LONGEST_WAIT_S = 0.005, 0.1
# Memory may grow by this share of its start, and by caches that fill: in bytes.
GROWTH, CACHES = 0.1, 64 * 2**20
# A busy machine takes a minute to import LiteLLM, in seconds.
START_S = 600
# Malformed bodies, over all routes.
BODIES = 3000
# What of the time the parsers are searched for.
PARSERS = 0.2
MODELS = ("small", "large", "slow", "breaks", "cuts")


class Search:
    """Searches of all methods, and what they met."""

    def __init__(self, runner: asyncio.Runner, cluster: Cluster, addresses: dict[str, str]) -> None:
        self._runner = runner
        self._cluster = cluster
        self._channels = {name: served.channel(address) for name, address in addresses.items()}
        self._about = rpcs.known(MODELS, tuple(f"{model}@openai" for model in MODELS))
        self._http = httpx.Client(base_url=cluster.rests[0], trust_env=False)
        document = self._http.get("/openapi.json").json()
        self._routes = {f"rest.{name}": one for name, one in rest.operations(document).items()}
        self.names = (*rpcs.RPCS, *self._routes)
        self.codes: Counter[tuple[str, str]] = Counter()
        self.found: list[str] = []
        self.longest_wait_s: dict[str, float] = dict.fromkeys(self.names, 0.0)

    def search(self, name: str, seed: int) -> None:
        """Look for a request of a method or route that is answered with a mistake of ours."""
        last: list[Message | rest.Sent] = []
        route = self._routes.get(name)

        @seeded(seed)
        @settings(
            max_examples=EXAMPLES, database=None, deadline=None, suppress_health_check=list(HealthCheck)
        )
        @given(rest.requests(route) if route else rpcs.requests(rpcs.RPCS[name], self._about))
        def look(request: Any) -> None:
            last[:] = [request]
            if route:
                code = rest.check(self._http, request, ADMIN_KEY)
            else:
                code = self._runner.run(self._call(rpcs.RPCS[name], request))
            self.codes[name, code] += 1

        try:
            look()
        except (AssertionError, HypothesisException, httpx.HTTPError) as mistake:
            # Hypothesis tries the smallest example last.
            smallest = last[0]
            if isinstance(smallest, rest.Sent):
                path = cases.keep("parser.rest", smallest.to_bytes())
            else:
                path = cases.keep(name, smallest)
            self.found.append(f"{name}: {str(mistake).splitlines()[0][:200]} ({path}, seed {seed})")

    async def _call(self, method: Rpc, request: Message) -> str:
        channel = self._channels[method.served_by]
        probe = asyncio.create_task(self._probe(method, channel))
        try:
            return await rpcs.check(channel, method, request, SHOWN)
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
        self._http.close()
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
    seconds = given_.minutes * 60
    try:
        found = _parsers(folder, seconds * PARSERS, given_.seed)
        with asyncio.Runner() as runner:
            return max(found, _run(runner, folder, seconds * (1 - PARSERS), given_.seed))
    finally:
        shutil.rmtree(folder)


def _parsers(folder: Path, seconds: float, seed: int) -> int:
    """Search each parser by coverage, in a process of its own; 1 when something was found."""
    found = 0
    for name, beginnings in parsers.SEEDS.items():
        corpus = folder / f"corpus-{name}"
        corpus.mkdir()
        for number, data in enumerate([*beginnings, *(data for _, data in cases.of_parser(name))]):
            (corpus / str(number)).write_bytes(data)
        share_s = max(1, round(seconds / len(parsers.SEEDS)))
        options = (f"-max_total_time={share_s}", f"-seed={seed}", "-max_len=4096", "-timeout=10")
        command = [sys.executable, "-m", "tests.fuzz.parsers", name, *options]
        ended = subprocess.run(
            [*command, f"-artifact_prefix={folder}/found-{name}-", str(corpus)],
            capture_output=True,
            text=True,
            timeout=share_s * 10 + START_S,
        )
        kept = [cases.keep(f"parser.{name}", one.read_bytes()) for one in folder.glob(f"found-{name}-*")]
        print(f"parser.{name}: {share_s} s, {len(list(corpus.iterdir()))} ways through it, found {kept}")
        if ended.returncode:
            print(ended.stderr[-2000:])
            found = 1
    return found


def _run(runner: asyncio.Runner, folder: Path, seconds: float, seed: int) -> int:
    running = clusters.running(folder, gateways=1, executors=1, ledgers=1, fleet=fleet(clusters.FLEET))
    cluster = runner.run(running.__aenter__())
    try:
        found = _malformed(runner, cluster, seed)
        addresses = {name.partition("-")[0]: listen for name, listen in cluster.listen.items()}
        addresses["keys"] = addresses["gateway"]
        search = runner.run(_made(runner, cluster, addresses))
        search.found += found
        ends = time.monotonic() + seconds
        start: dict[str, int] = {}
        for turn in itertools.count():
            for name in search.names:
                search.search(name, seed + turn)
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


def _malformed(runner: asyncio.Runner, cluster: Cluster, seed: int) -> list[str]:
    """Send malformed bodies to every route; what was answered as it may not be, or billed."""
    found = []
    malformed = Malformed(cluster.rests[0], ADMIN_KEY)
    try:
        for path in ROUTES:
            try:
                malformed.search(path, -(-BODIES // len(ROUTES)), number=seed)
            except (AssertionError, HypothesisException, httpx.HTTPError) as mistake:
                found.append(f"{path}: {str(mistake)[:400]} (seed {seed})")
        billed = runner.run(malformed.billed(cluster.postgres.url))
    finally:
        malformed.close()
    print(f"malformed: {sum(malformed.codes.values())} bodies {dict(malformed.codes)}, {len(billed)} billed")
    return [*found, *(f"billed although it was refused: {dict(one)}" for one in billed)]


async def _made(runner: asyncio.Runner, cluster: Cluster, addresses: dict[str, str]) -> Search:
    return Search(runner, cluster, addresses)


def _memory(cluster: Cluster) -> dict[str, int]:
    return {
        name: psutil.Process(one.pid).memory_info().rss for name, one in cluster.services.items() if one.pid
    }


def _report(search: Search, start: dict[str, int], end: dict[str, int]) -> int:
    mistakes = list(search.found)
    for method in search.names:
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
