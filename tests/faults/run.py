"""One fault, again and again while requests run, then the audit.

Faults come by progress and not by the clock: a run is a row of rounds, in each a fault comes when some of the round's
requests have ended, and the next round begins when everything has recovered. So a slow machine sees the same faults
among the same requests as a quick one.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import redis.asyncio as redis

from services.chassis import redis_keys
from tests.faults import cluster as clusters
from tests.faults.audit import Audit, audit
from tests.faults.cluster import Cluster
from tests.faults.load import Load, drive, make_keys, on_a_budget_for_one
from tests.stores.valkey_cluster import ValkeyCluster

Fault = Callable[[Cluster, random.Random], Coroutine[Any, Any, None]]


async def _nothing(cluster: Cluster, rng: random.Random) -> None:
    """For comparison."""


def _crashes(kind: str) -> Fault:
    async def crash(cluster: Cluster, rng: random.Random) -> None:
        await cluster.crash(rng.choice(cluster.of(kind)))

    return crash


async def _freeze_valkey(cluster: Cluster, rng: random.Random) -> None:
    cluster.one_valkey.pause()
    await asyncio.sleep(rng.uniform(1, 10))
    cluster.one_valkey.resume()


async def _restart_valkey(cluster: Cluster, rng: random.Random) -> None:
    cluster.one_valkey.kill()
    await asyncio.sleep(rng.uniform(0, 2))
    await cluster.one_valkey.start()


async def _empty_valkey(cluster: Cluster, rng: random.Random) -> None:
    async with redis.from_url(cluster.one_valkey.url, socket_timeout=5) as client:
        await client.flushall()


async def _restart_postgres(cluster: Cluster, rng: random.Random) -> None:
    cluster.postgres.kill()
    await asyncio.sleep(rng.uniform(0, 3))
    await cluster.postgres.start()


async def _deliver_twice(cluster: Cluster, rng: random.Random) -> None:
    """Append what is in the streams once more, as a spool does whose acknowledgement was lost."""
    async with redis.from_url(cluster.one_valkey.url, socket_timeout=5) as client:
        for stream in ("lumni:usage", "lumni:decisions"):
            entries: list[Any] = await client.xrange(stream, count=200) or []
            for _, fields in entries:
                await client.xadd(stream, fields)


async def _kill_a_primary(cluster: Cluster, rng: random.Random) -> None:
    """Kill a primary of a cluster, and start it again as a replica of the one that was promoted."""
    assert isinstance(cluster.valkey, ValkeyCluster)
    # Where much is: usage on its way to the ledger, or the money of an organization.
    keys = [redis_keys.partition(redis_keys.USAGE_STREAM, number) for number in range(cluster.partitions)]
    key = rng.choice(keys)
    dead = await cluster.valkey.primary_of(key)
    dead.kill()
    await cluster.valkey.promoted(dead, key)
    await dead.start()
    await cluster.valkey.whole()


EXECUTOR_KILLED = "executor-killed"
PRIMARY_KILLED = "primary-killed"
FAULTS: dict[str, Fault] = {
    "none": _nothing,
    "gateway-killed": _crashes("gateway"),
    EXECUTOR_KILLED: _crashes("executor"),
    "ledger-killed": _crashes("ledger"),
    "valkey-frozen": _freeze_valkey,
    "valkey-restarted": _restart_valkey,
    "valkey-emptied": _empty_valkey,
    "postgres-restarted": _restart_postgres,
    "delivered-twice": _deliver_twice,
    PRIMARY_KILLED: _kill_a_primary,
}
# One after the other, in an order of chance; those that are over soon.
MIXED = ("gateway-killed", EXECUTOR_KILLED, "ledger-killed", "valkey-emptied", "delivered-twice")
NAMES = ("mixed", *FAULTS)


async def run(
    folder: Path,
    name: str,
    requests: int,
    *,
    seed: int = 1,
    gateways: int = 3,
    executors: int = 2,
    ledgers: int = 2,
    a_round: int,
) -> tuple[Load, Audit]:
    """Run a cluster under load with one fault in each round; what callers saw, and what the audit found.

    Args:
        folder: Where the cluster keeps its data and logs.
        name: A fault, or "mixed".
        requests: How many are made before the last check.
        seed: Decides the requests and the faults.
        gateways: How many of them run.
        executors: How many of them run; 0 puts all services into each gateway's process, whose end is theirs.
        ledgers: How many of them run.
        a_round: How many requests share one fault.

    """
    rng = random.Random(seed)
    mixed = [kind for kind in MIXED if executors or kind != EXECUTOR_KILLED]
    async with clusters.running(
        folder,
        gateways=gateways,
        executors=executors,
        ledgers=ledgers,
        sharded=name == PRIMARY_KILLED,
    ) as cluster:
        load = Load(await make_keys(cluster))
        kinds: list[str] = []
        for first in range(0, requests, a_round):
            # Each of the mixed faults comes once before one comes again.
            kinds = kinds or (rng.sample(mixed, len(mixed)) if name == "mixed" else [name])
            numbers = range(first, min(first + a_round, requests))
            await _round(cluster, load, numbers, FAULTS[kinds.pop()], rng, seed)
        statuses = await on_a_budget_for_one(cluster, load)
        found = await audit(cluster)
        found.check(statuses == [200] + [429] * 49, f"on a budget for one request callers saw {statuses}")
        found.check(load.endings["500"] == 0, f"{load.endings['500']} callers saw an internal error")
        return load, found


async def _round(
    cluster: Cluster, load: Load, numbers: range, fault: Fault, rng: random.Random, seed: int
) -> None:
    """Drive these requests, strike when up to half of them have ended, and wait until everything works again."""
    moment = numbers.start + rng.randint(1, max(1, len(numbers) // 2))
    async with asyncio.TaskGroup() as group:
        group.create_task(drive(cluster, load, numbers, seed=seed))
        await load.until(moment)
        await fault(cluster, rng)
    await cluster.recovered()
