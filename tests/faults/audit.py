"""Count every bill again: what the provider saw, what the ledger wrote, what the budgets say."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from services.chassis import redis, redis_keys, stream_partitions
from services.gateway.config.budgets import Period, token
from services.gateway.limits.partitions import Partitions
from tests.faults.cluster import STALLED_S, Cluster

# All partitions of the counters of money.
PARTS = f"{redis_keys.MONEY}*"


@dataclass
class Audit:
    """What was found; no problems is what we want."""

    seen: int = 0
    rows: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    # The rows whose cost is not the provider's own count, one line each.
    inexact: list[str] = field(default_factory=list)
    settled_after_s: float = 0.0

    def check(self, holds: bool, problem: str) -> None:
        if not holds:
            self.problems.append(problem)


async def settled(cluster: Cluster) -> float:
    """Wait until nothing is open, in the stream, or reserved; how long that took, in seconds."""
    began = time.monotonic()
    connection = await asyncpg.connect(cluster.postgres.url)
    async with redis.connect(cluster.valkey.url, timeout_s=5) as client:
        streams = stream_partitions.all_of(redis_keys.USAGE_STREAM, cluster.partitions)
        reserved: list[redis.Command] = [
            ("ZCARD", redis_keys.reservations(part)) for part in Partitions(client).names
        ]
        try:
            while True:
                infos = [await client.xinfo_stream(stream) for stream in streams]
                groups = [(await client.xinfo_groups(stream))[0] for stream in streams]
                left = {
                    "in the stream": sum(
                        info["last-generated-id"] != group["last-delivered-id"]
                        for info, group in zip(infos, groups, strict=True)
                    ),
                    "not acknowledged": sum(group["pending"] for group in groups),
                    "open attempts": await connection.fetchval("SELECT count(*) FROM open_attempts"),
                    "reservations": sum(redis.checked(await redis.exchange(client, reserved))),
                    "spooled": sum(1 for one in _spooled(cluster)),
                }
                if not any(left.values()):
                    return time.monotonic() - began
                if time.monotonic() - began > STALLED_S:
                    raise AssertionError(f"after {STALLED_S} s there are still {left}")
                await asyncio.sleep(0.1)
        finally:
            await connection.close()


def _spooled(cluster: Cluster) -> list[Any]:
    return list(cluster.folder.glob("executor-*/**/*.usage"))


async def audit(cluster: Cluster) -> Audit:
    """Wait until all is settled, then compare."""
    found = Audit()
    found.settled_after_s = await settled(cluster)
    connection = await asyncpg.connect(cluster.postgres.url)
    try:
        rows = await connection.fetch("SELECT * FROM usage_records")
        spend = await connection.fetch("SELECT subject, period, spent_nano_usd FROM budget_spend")
        hours = await connection.fetchrow(
            "SELECT sum(attempts) AS n, sum(cost_nano_usd) AS cost FROM usage_metrics"
        )
        poison = await connection.fetchval("SELECT count(*) FROM poison_events")
    finally:
        await connection.close()
    seen = await cluster.provider.requests(last=1_000_000)
    counts = await cluster.provider.counts()
    found.check(
        len(seen) == counts["requests"], f"the simulator kept {len(seen)} of {counts['requests']} requests"
    )
    found.seen = len(seen)
    found.rows = Counter(row["kind"] for row in rows)
    found.inexact = [
        f"{row['kind']} {row['attempt_id']} {row['model']}: {row['cost_nano_usd']} of at most "
        f"{row['max_cost_nano_usd']} nano-USD"
        for row in sorted(rows, key=lambda row: (row["kind"], row["attempt_id"]))
        if row["kind"] in ("partial", "unknown")
    ]
    _compare_attempts(found, rows, seen)
    _compare_sums(found, rows, {(row["subject"], row["period"]): row["spent_nano_usd"] for row in spend})
    assert hours is not None
    total = sum(row["cost_nano_usd"] for row in rows)
    found.check(
        (hours["n"], hours["cost"]) == (len(rows), total), f"the hours say {dict(hours)}, the rows {total}"
    )
    found.check(poison == 0, f"{poison} poison events")
    await _compare_redis(
        found, cluster, {(row["subject"], row["period"]): row["spent_nano_usd"] for row in spend}
    )
    return found


def _compare_attempts(found: Audit, rows: list[Any], seen: list[dict[str, Any]]) -> None:
    """One row for each request that the provider saw; an unknown one may not have reached it."""
    by_model: Counter[str] = Counter(_model(one["model"]) for one in seen)
    for model, count in by_model.items():
        mine = [row for row in rows if row["model"] == model]
        inexact = sum(row["kind"] in ("unknown", "partial", "failed") for row in mine)
        found.check(len(mine) >= count, f"{model}: the provider saw {count}, the ledger has {len(mine)}")
        found.check(len(mine) - inexact <= count, f"{model}: {len(mine)} rows, the provider saw only {count}")
        answered = Counter(
            (one["prompt_tokens"], one["completion_tokens"])
            for one in seen
            if _model(one["model"]) == model and one["outcome"] in ("answered", "abandoned")
        )
        final = Counter(
            (row["prompt_tokens"], row["completion_tokens"]) for row in mine if row["kind"] == "final"
        )
        found.check(
            final <= answered, f"{model}: final rows that the provider did not count: {final - answered}"
        )
        # Whatever it answered whole and we call otherwise must be a row of the inexact kinds.
        missing = sum((answered - final).values())
        found.check(
            missing <= inexact, f"{model}: {missing} answers have no final row, {inexact} rows are inexact"
        )
    for row in rows:
        bound = row["max_cost_nano_usd"]
        found.check(
            row["cost_nano_usd"] == bound
            if row["kind"] == "unknown"
            else row["kind"] == "final" or row["cost_nano_usd"] <= bound,
            f"{row['attempt_id']}: {row['kind']} costs {row['cost_nano_usd']}, its bound is {bound}",
        )


def _compare_sums(found: Audit, rows: list[Any], spend: dict[tuple[str, str], int]) -> None:
    sums: Counter[tuple[str, str]] = Counter()
    for row in rows:
        for scope in ("key", "user", "organization"):
            if row[f"{scope}_id"]:
                for period in Period:
                    subject = f"{scope}:{row[f'{scope}_id']}"
                    sums[subject, token(period, row["admitted_at"])] += row["cost_nano_usd"]
    for subject, span in sums.keys() | spend.keys():
        budget, cost = spend.get((subject, span), 0), sums[subject, span]
        found.check(budget == cost, f"{subject} in {span}: the budget says {budget}, the rows say {cost}")


async def _compare_redis(found: Audit, cluster: Cluster, spend: dict[tuple[str, str], int]) -> None:
    async with redis.connect(cluster.valkey.url, timeout_s=5) as client:
        for server in await redis.servers(client):
            await _compare_server(found, server, spend)


async def _compare_server(found: Audit, client: redis.Redis, spend: dict[tuple[str, str], int]) -> None:
    async for key in client.scan_iter(match=redis_keys.held("*", PARTS)):
        held = int(await client.get(key) or 0)
        found.check(held == 0, f"{key.decode()} holds {held} though nothing is reserved")
    async for key in client.scan_iter(match=redis_keys.spent("*", "*", PARTS)):
        facts = await client.hgetall(key)
        subject, period = _subject(key.decode())
        cached = int(facts.get(b"ledger", 0)) + int(facts.get(b"pending", 0))
        found.check(
            cached == spend.get((subject, period), 0),
            f"Redis says {subject} spent {cached} in {period}, the ledger {spend.get((subject, period), 0)}",
        )


def _subject(key: str) -> tuple[str, str]:
    scope, _, rest = key.partition(":spent:")[2].partition(":")
    ident, _, period = rest.partition(":")
    return f"{scope}:{ident}", period


def _model(name: str) -> str:
    return name.partition("-sim-")[0]
