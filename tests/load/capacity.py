"""What a request costs, how replicas add up, and what that means for many: python -m tests.load.capacity, or `make capacity`.

Each service in turn runs in 1 to 4 replicas, each of which may use a small part of a core (control groups), while the
others may use all they want: so many clients as keep it busy say how many requests a second it takes. Without control
groups only the cost of a request is measured. The tables are written into docs/scaling.md.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import psutil
import redis.asyncio as redis

from tests import tools
from tests.bench.processes import cpu_ms
from tests.faults import cluster as clusters
from tests.faults.cluster import Cluster
from tests.faults.load import make_keys
from tests.load import paper
from tests.load.clients import Answered, ask
from tests.load.cpu_quota import NotAllowed, limited
from tests.load.paper import Cost
from tests.load.report import machine

PAGE = tools.ROOT / "docs" / "scaling.md"
BEGIN, END = "<!-- measured: make capacity -->", "<!-- end of what was measured -->"
SERVICES = ("gateway", "classifier", "selector", "executor")
# Of a core, by default: four replicas of one must leave room for all that is behind and before them.
QUOTA = 0.05
CLIENTS = 16
# Before anything is measured.
WARM_UP_S = 3
# What is done without requests is no request's.
IDLE_S = 5
# PostgreSQL counts a connection's work once it is idle for so long.
LATE_S = 2
WRITTEN = """
SELECT xact_commit::float8, (tup_inserted + tup_updated + tup_deleted)::float8,
       pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8
FROM pg_stat_database WHERE datname = current_database()
"""


async def main(given: argparse.Namespace) -> int:
    """Measure and write."""
    began, quota = datetime.now(UTC), given.quota or QUOTA * (os.cpu_count() or 1)
    cost = await _cost(given.seconds)
    lines = [machine(began), "", *paper.of_a_request(cost), ""]
    try:
        curve = {
            name: {n: await _rate(name, n, quota, given.seconds) for n in given.replicas}
            for name in (given.service or SERVICES if given.replicas else ())
        }
        lines += [*paper.of_replicas(curve, quota), ""] if curve else []
    except NotAllowed as problem:
        lines += [f"No curve of replicas: {problem}.", ""]
    lines += paper.of_many(cost)
    text = "\n".join(lines)
    print(text)
    if not given.check:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{rest.partition(END)[2]}")
    return 0


async def _cost(seconds: float) -> Cost:
    """What a request costs each process, Redis and PostgreSQL, with one of each and no quota."""
    async with _running({}) as (cluster, key), redis.from_url(cluster.valkey.url, socket_timeout=5) as client:
        parts = {**cluster.services, "valkey": cluster.one_valkey, "postgres": cluster.postgres}
        processes = {
            name.partition("-")[0]: psutil.Process(part.pid) for name, part in parts.items() if part.pid
        }

        async def counted() -> list[float]:
            used = [cpu_ms(process) for process in processes.values()]
            return [*used, await _commands(client), *await _rows(cluster)]

        before = await counted()
        await asyncio.sleep(IDLE_S)
        idle = [(now - then) / IDLE_S for now, then in zip(await counted(), before, strict=True)]
        before = await counted()
        answered = await ask(cluster.rests, key, CLIENTS, seconds)
        # What is written late is a request's, too.
        await asyncio.sleep(LATE_S)
        each = [
            (now - then - rate * (seconds + LATE_S)) / answered.whole
            for now, then, rate in zip(await counted(), before, idle, strict=True)
        ]
        used, others = each[: len(processes)], each[len(processes) :]
        return Cost(dict(zip(processes, used, strict=True)), *others)


async def _rate(name: str, replicas: int, quota: float, seconds: float) -> Answered:
    """What so many replicas of a service get done, each with its part of a core."""
    async with _running({name: replicas}) as (cluster, key):
        pids = [pid for service in cluster.of(name) if (pid := service.pid)]
        with limited(f"lumni-{name}", pids, quota):
            return await ask(cluster.rests, key, CLIENTS * replicas, seconds)


@asynccontextmanager
async def _running(replicas: Mapping[str, int]) -> AsyncIterator[tuple[Cluster, str]]:
    """A warm cluster and a key; one of each service unless said otherwise."""
    count = {**dict.fromkeys(SERVICES, 1), **replicas}
    with tempfile.TemporaryDirectory(prefix="lumni-capacity-") as name:
        # PostgreSQL does not run as root, and must get through.
        Path(name).chmod(0o711)
        async with clusters.running(
            Path(name),
            gateways=count["gateway"],
            executors=count["executor"],
            ledgers=1,
            deciders={name: count[name] for name in ("classifier", "selector")},
            timeout_s=60,
        ) as cluster:
            key = (await make_keys(cluster, 1))[0]
            await ask(cluster.rests, key, CLIENTS, WARM_UP_S)
            yield cluster, key


async def _commands(client: redis.Redis) -> int:
    return int((await client.info("stats"))["total_commands_processed"])


async def _rows(cluster: Cluster) -> Sequence[float]:
    """Transactions, rows written and bytes of its log that PostgreSQL has had so far."""
    connection = await asyncpg.connect(cluster.postgres.url)
    try:
        row = await connection.fetchrow(WRITTEN)
    finally:
        await connection.close()
    assert row is not None
    return [float(value) for value in row.values()]


def arguments() -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.load.capacity", description=__doc__)
    parser.add_argument("--check", action="store_true", help="only print")
    parser.add_argument("--seconds", type=float, default=20, help="of each measurement")
    parser.add_argument("--replicas", type=int, nargs="*", default=[1, 2, 3, 4], help="none: no curve")
    parser.add_argument("--service", action="append", choices=SERVICES, help="whose curve; all by default")
    parser.add_argument(
        "--quota", type=float, help=f"of a core, for each replica; {QUOTA} of all cores by default"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(arguments())))
