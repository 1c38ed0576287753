"""The deployments' health of a moment as it is kept with a decision, and made into a snapshot again for a replay.

Only what differs from a deployment that nothing is known of is kept: most of a large fleet is never called.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from services.selector.live import snapshot
from services.selector.live.snapshot import DAILY, UNKNOWN_LATENCY_MS, Headroom, Snapshot
from services.selector.models.deployment_table import DeploymentTable


@dataclass(frozen=True, slots=True)
class State:
    """How one deployment fared."""

    deployment: str
    callable: bool = True
    closed: bool = True
    latency_ms: float = UNKNOWN_LATENCY_MS
    availability: float = 1.0
    in_flight: float = 0.0
    headroom: tuple[Headroom, ...] = ()


def kept(table: DeploymentTable, now: Snapshot) -> list[State]:
    """The deployments of a snapshot that differ from one that nothing is known of."""
    if not now.informed:
        return []
    differs = ~(now.callable & now.closed) | (now.in_flight != 0)
    differs |= (now.latency_ms != UNKNOWN_LATENCY_MS) | (now.availability != 1.0)
    headroom = {place: kept for place, left in now.headroom.items() if (kept := tuple(filter(_counts, left)))}
    differs[list(headroom)] = True
    return [
        State(
            table.deployments[i].id,
            bool(now.callable[i]),
            bool(now.closed[i]),
            float(now.latency_ms[i]),
            float(now.availability[i]),
            float(now.in_flight[i]),
            headroom.get(i, ()),
        )
        for i in np.flatnonzero(differs).tolist()
    ]


def _counts(left: Headroom) -> bool:
    """Whether what remains of a limit changes a selection: a minute's that is whole is as if there were none."""
    return left.limit in DAILY or not 0 < left.total <= left.remaining


def restored(table: DeploymentTable, states: Iterable[State], taken_unix_s: float) -> Snapshot:
    """The snapshot that states were kept of, over a table; what they do not name is taken to be well."""
    found = replace(
        snapshot.unknown(table),
        callable=np.ones(len(table), dtype=np.bool_),
        closed=np.ones(len(table), dtype=np.bool_),
        in_quota=np.ones(len(table), dtype=np.bool_),
        taken_unix_s=taken_unix_s,
        informed=True,
    )
    for state in states:
        place = table.index.get(state.deployment)
        if place is None:
            continue
        found.callable[place] = state.callable
        found.closed[place] = state.closed
        found.latency_ms[place] = state.latency_ms
        found.availability[place] = state.availability
        found.in_flight[place] = state.in_flight
        snapshot.set_headroom(found, place, state.headroom)
    return found
