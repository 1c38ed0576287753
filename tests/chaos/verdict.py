"""Whether a drill went as it must: which requests failed, what each was billed, and every bill counted again."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

import asyncpg

from tests.chaos.scene import Scene
from tests.faults.audit import Audit, audit

# Problems of one kind that are shown; more are counted.
SHOWN = 10


@dataclass
class Verdict:
    """What a report says of a drill."""

    name: str
    seconds: float
    traffic: str
    said: list[str]
    excused: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    provider_saw: int = 0
    settled_after_s: float = 0.0


async def judge(scene: Scene, name: str, seconds: float, *, known: frozenset[str]) -> Verdict:
    """Count again what a drill's requests cost; `known` are problems that were there before it."""
    found = Verdict(name, seconds, scene.traffic.shown(), scene.said)
    found.problems += [scene.stuck] if scene.stuck else []
    try:
        counted: Audit = await audit(scene.cluster)
    except AssertionError as unsettled:
        found.problems.append(str(unsettled))
        return found
    found.provider_saw, found.settled_after_s = counted.seen, counted.settled_after_s
    rows = await _rows(scene)
    problems: dict[str, list[str]] = defaultdict(list)
    for ended in scene.traffic.ended:
        kinds = rows.get(ended.request_id, [])
        found.kinds.update(kinds)
        if not ended.problem:
            if kinds != ["final"]:
                problems["answered, but not billed once"].append(f"{ended.shown()}: {kinds}")
            continue
        excuse = next((one for one in scene.excuses if one.covers(ended)), None)
        if excuse is None:
            problems["failed and need not have"].append(ended.shown())
            continue
        found.excused[excuse.why] += 1
        if ended.status == 503 and not ended.retry_after:
            problems["503 without retry-after"].append(ended.shown())
        if len(kinds) > 1 or not excuse.kinds.issuperset(kinds):
            problems["failed, but not billed as what may have been"].append(f"{ended.shown()}: {kinds}")
    for what, each in problems.items():
        found.problems.append(f"{what}: {len(each)}")
        found.problems += [f"  {one}" for one in each[:SHOWN]]
    found.problems += [problem for problem in counted.problems if problem not in known]
    return found


async def _rows(scene: Scene) -> Mapping[str, list[str]]:
    """The kinds of the ledger's rows of each request."""
    connection = await asyncpg.connect(scene.cluster.postgres.url)
    try:
        rows = await connection.fetch("SELECT request_id, kind FROM usage_records ORDER BY attempt_id")
    finally:
        await connection.close()
    kinds: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        kinds[str(row["request_id"])].append(row["kind"])
    return kinds
