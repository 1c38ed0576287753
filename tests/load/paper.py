"""From what a request costs to what many of them need, as tables in Markdown."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.load.clients import Answered

RATES = (1_000, 10_000, 100_000)
# Of a core that a process may use on average, so that bursts and the loss of a replica do not fill it.
USED = 0.6
# What has one thread: so many cores it can use.
SINGLE = ("gateway", "classifier", "selector", "executor", "ledger", "valkey")
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Cost:
    """What one request costs.

    Args:
        cpu_ms: Of each kind of process, in milliseconds.
        redis_commands: That Redis executes.
        commits: Transactions of PostgreSQL.
        rows: That are inserted, updated or deleted there.
        log_bytes: That it writes ahead.
    """

    cpu_ms: Mapping[str, float]
    redis_commands: float
    commits: float
    rows: float
    log_bytes: float


def of_a_request(cost: Cost) -> Sequence[str]:
    """What one request costs."""
    whole = sum(cost.cpu_ms.values())
    return [
        "| a request | CPU ms | of all |",
        "| --- | --- | --- |",
        *(
            f"| {name} | {ms:.2f} | {ms / whole:.0%} |"
            for name, ms in sorted(cost.cpu_ms.items(), key=lambda pair: -pair[1])
        ),
        f"| all | {whole:.2f} | |",
        "",
        f"Redis executes {cost.redis_commands:.1f} commands for it.",
        f"PostgreSQL writes {cost.rows:.2f} rows in {cost.commits:.3f} transactions,",
        f"and {cost.log_bytes / 1024:.1f} KiB of its log.",
    ]


def of_replicas(curve: Mapping[str, Mapping[int, Answered]], quota: float) -> Sequence[str]:
    """What replicas of each service got done."""
    counts = sorted({count for each in curve.values() for count in each})
    head = " | ".join(f"{count} replica{'s' if count > 1 else ''}" for count in counts)
    lines = [
        f"Whole answers a second, of replicas that may each use {quota:.3g} of a core:",
        "",
        f"| replicated | {head} | last / first |",
        f"| --- |{' --- |' * len(counts)} --- |",
    ]
    for name, each in curve.items():
        shown = " | ".join(_cell(each[count]) for count in counts)
        first = each[counts[0]].rate
        ratio = f"{each[counts[-1]].rate / first:.2f}" if first else "-"
        lines.append(f"| {name} | {shown} | {ratio} |")
    return [*lines, "", "In brackets: answered without classifier or selector, refused, both a second."]


def _cell(found: Answered) -> str:
    degraded, refused = found.degraded / found.seconds, found.refused / found.seconds
    return f"{found.rate:.1f}" + (f" ({degraded:.1f}, {refused:.1f})" if degraded or refused else "")


def of_many(cost: Cost) -> Sequence[str]:
    """What many requests a second need."""
    slowest = max((name for name in cost.cpu_ms if name in SINGLE), key=lambda name: cost.cpu_ms[name])
    lines = [
        f"First to fill its core is one {slowest}, at {1000 / cost.cpu_ms[slowest]:.0f} requests a second.",
        "",
        f"| requests a second | {' | '.join(f'{rate:,}' for rate in RATES)} |",
        f"| --- |{' --- |' * len(RATES)}",
    ]
    for name, ms in cost.cpu_ms.items():
        what = "shards of Valkey" if name == "valkey" else f"{name}, cores" if name == "postgres" else name
        lines.append(_row(what, [math.ceil(rate * ms / 1000 / USED) for rate in RATES]))
    lines += [
        _row("Redis commands a second", [rate * cost.redis_commands for rate in RATES]),
        _row("PostgreSQL transactions a second", [rate * cost.commits for rate in RATES]),
        _row("PostgreSQL rows a second", [rate * cost.rows for rate in RATES]),
        _row("PostgreSQL log, MiB a second", [rate * cost.log_bytes / MIB for rate in RATES]),
    ]
    return lines


def _row(what: str, values: Sequence[float]) -> str:
    return f"| {what} | {' | '.join(f'{value:,.0f}' for value in values)} |"
