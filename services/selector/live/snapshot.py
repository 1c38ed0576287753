"""The deployments' present health, merged from the reports of all executor replicas, as arrays over the table."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from services.chassis import breaker_majority
from services.selector.models.deployment_table import Array, DeploymentTable, Mask

# The latency that is assumed of a deployment before its first call, in milliseconds.
UNKNOWN_LATENCY_MS = 1000.0
# Limits of a day, which are paced.
DAILY = ("rpd", "tpd")


@dataclass(frozen=True, slots=True)
class Headroom:
    """What remains of one limit (rpm, tpm, rpd or tpd), and when it is reset, in seconds since 1970."""

    limit: str
    total: int
    remaining: int
    resets_unix_s: float


@dataclass(frozen=True, slots=True)
class Report:
    """One executor replica's view of one deployment."""

    deployment: str
    breaker_open: bool = False
    half_open: bool = False
    latency_ms: float = 0.0
    error_rate: float = 0.0
    in_flight: int = 0
    callable: bool = True
    headroom: tuple[Headroom, ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One moment of all deployments, in the table's order."""

    callable: Mask
    # The circuit breaker lets calls through.
    closed: Mask
    # Every limit has something left.
    in_quota: Mask
    latency_ms: Array
    # The share left of the scarcest limit, times the share of calls that succeed.
    availability: Array
    in_flight: Array
    # When the used up quota is reset, in seconds since 1970; 0 where it is not used up.
    resets_unix_s: Array
    # What is left of the day's requests and tokens; infinite where the day has no limit.
    requests_left: Array
    tokens_left: Array
    headroom: dict[int, tuple[Headroom, ...]] = field(default_factory=dict)
    taken_unix_s: float = 0.0
    # False until an executor has published.
    informed: bool = False


def unknown(table: DeploymentTable) -> Snapshot:
    """Without any report: everything is assumed to work."""
    count = len(table)
    yes = np.ones(count, dtype=np.bool_)
    return Snapshot(
        callable=yes,
        closed=yes,
        in_quota=yes,
        latency_ms=np.full(count, UNKNOWN_LATENCY_MS),
        availability=np.ones(count),
        in_flight=np.zeros(count),
        resets_unix_s=np.zeros(count),
        requests_left=np.full(count, np.inf),
        tokens_left=np.full(count, np.inf),
    )


def merge(table: DeploymentTable, replicas: Iterable[Iterable[Report]], now_unix_s: float) -> Snapshot:
    """Merge the replicas' views.

    A deployment can be called where any replica can; its breaker is open when most replicas' are; of each limit the
    least remaining counts, for the replicas share the counters; latency and errors are means.
    """
    reports: dict[int, list[Report]] = defaultdict(list)
    informed = False
    for replica in replicas:
        informed = True
        for report in replica:
            if (place := table.index.get(report.deployment)) is not None:
                reports[place].append(report)
    merged = unknown(table)
    if not informed:
        return merged
    known = Snapshot(
        # A deployment that no executor reports cannot be called.
        callable=np.zeros(len(table), dtype=np.bool_),
        closed=merged.closed.copy(),
        in_quota=merged.in_quota.copy(),
        latency_ms=merged.latency_ms,
        availability=merged.availability,
        in_flight=merged.in_flight,
        resets_unix_s=merged.resets_unix_s,
        requests_left=merged.requests_left,
        tokens_left=merged.tokens_left,
        taken_unix_s=now_unix_s,
        informed=True,
    )
    for place, found in reports.items():
        _merge_one(known, place, found, table.deployments[place].max_parallel_requests, now_unix_s)
    return known


def _merge_one(
    into: Snapshot, place: int, reports: list[Report], most_parallel: int, now_unix_s: float
) -> None:
    able = [report for report in reports if report.callable]
    into.callable[place] = bool(able)
    reports = able or reports
    into.closed[place] = not breaker_majority.is_open([report.breaker_open for report in reports])
    timed = [report.latency_ms for report in reports if report.latency_ms > 0]
    if timed:
        into.latency_ms[place] = sum(timed) / len(timed)
    into.in_flight[place] = sum(report.in_flight for report in reports)
    left = _scarcest((one for report in reports for one in report.headroom), now_unix_s)
    set_headroom(into, place, left)
    share = min((one.remaining / one.total for one in left if one.total), default=1.0)
    if most_parallel:
        share = min(share, max(0.0, 1.0 - into.in_flight[place] / (most_parallel * len(reports))))
    errors = sum(report.error_rate for report in reports) / len(reports)
    half_open = any(report.half_open for report in reports)
    into.availability[place] = share * (1.0 - errors) * (0.5 if half_open else 1.0)


def set_headroom(into: Snapshot, place: int, left: tuple[Headroom, ...]) -> None:
    """Put what remains of one deployment's limits into a snapshot."""
    into.headroom[place] = left
    for one in left:
        if one.limit == "rpd":
            into.requests_left[place] = one.remaining
        elif one.limit == "tpd":
            into.tokens_left[place] = one.remaining
    resets = [one.resets_unix_s for one in left if one.remaining <= 0]
    if resets:
        into.in_quota[place] = False
        into.resets_unix_s[place] = max(resets)


def _scarcest(all_headroom: Iterable[Headroom], now_unix_s: float) -> tuple[Headroom, ...]:
    found: dict[str, Headroom] = {}
    for one in all_headroom:
        # A window that is over has been reset.
        current = one if one.resets_unix_s > now_unix_s else Headroom(one.limit, one.total, one.total, 0.0)
        best = found.get(one.limit)
        if best is None or current.remaining < best.remaining:
            found[one.limit] = current
    return tuple(found.values())
