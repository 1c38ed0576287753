"""What people read of a run of the load, in Markdown."""

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.load import http


@dataclass
class Seen:
    """What a run saw: ghz's report of each RPC, vegeta's over HTTP, and what else is to be said."""

    rpcs: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    over_http: http.Found | None = None
    notes: list[str] = field(default_factory=list)
    failed: bool = False
    began: datetime = field(default_factory=lambda: datetime.now(UTC))


def rpc_line(name: str, found: Mapping[str, Any]) -> str:
    """One row of the table of RPCs; latencies in milliseconds."""
    percentiles = {each["percentage"]: each["latency"] / 1e6 for each in found["latencyDistribution"] or ()}
    failed = {status: count for status, count in found["statusCodeDistribution"].items() if status != "OK"}
    times = " | ".join(f"{percentiles.get(share, 0):.2f}" for share in (50, 95, 99))
    shown = ", ".join(f"{count} {status}" for status, count in failed.items()) or "none"
    return f"| {name} | {found['count']} | {found['rps']:.0f} | {times} | {shown} |"


def written(seen: Seen) -> str:
    """The whole report."""
    lines = ["# Load", "", machine(seen.began), ""]
    if seen.rpcs:
        lines += [
            "| RPC | calls | a second | p50 ms | p95 ms | p99 ms | failed |",
            "| --- | --- | --- | --- | --- | --- | --- |",
            *(rpc_line(name, found) for name, found in seen.rpcs.items()),
            "",
        ]
    if seen.over_http is not None:
        lines += [*http.table(seen.over_http), ""]
    lines += [f"- {note}" for note in seen.notes]
    return "\n".join([*lines, ""])


def machine(began: datetime) -> str:
    """When and on what figures were taken; the load says what else ran there."""
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    return (
        f"{began:%d %B %Y, %H:%M} UTC; {os.cpu_count()} cores ({platform.machine()}) that client, provider and stores "
        f"share; load average at the end {load}; Python {platform.python_version()}."
    )
