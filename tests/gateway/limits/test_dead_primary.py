"""Settlements while one primary of a cluster is down, with the answers of `Cluster.exchange`."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

import pytest

from services.chassis import redis, redis_keys
from services.chassis.lua import Script
from services.gateway.limits import probe, scripts
from services.gateway.limits.probe import Probe
from services.gateway.limits.settlement import BATCH, Settlements
from tests.gateway.conftest import eventually
from tests.gateway.money import Bill, Used


class _Cluster:
    """Two partitions at two servers, one of which may be dead."""

    def __init__(self) -> None:
        self.dead = {"dead"}
        self.settled: dict[str, set[str]] = {"dead": set(), "live": set()}
        self.sent: Counter[str] = Counter()

    async def set(self, key: str, *_: Any, **__: Any) -> None:
        """The command of a probe."""
        if key in map(redis_keys.probe, self.dead):
            raise redis.ERRORS[0]("the server is gone")

    async def run_all(self, _: Script, __: redis.Redis, calls: Sequence[tuple[str, Any]]) -> list[Any]:
        """Raises where all calls are for a dead server; among others' answers its error is an answer."""
        parts = {part for part, _ in calls}
        self.sent.update(part for part, _ in calls)
        if parts <= self.dead:
            raise TimeoutError
        for part, argument in calls:
            if part not in self.dead:
                self.settled[part].add(argument["request"])
        return [TimeoutError() if part in self.dead else b"1" for part, _ in calls]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> _Cluster:
    one = _Cluster()
    monkeypatch.setattr(scripts, "run_all", one.run_all)
    monkeypatch.setattr(probe, "PAUSE_S", 0.02)
    return one


async def test_settlements_of_a_dead_primary_hold_up_no_others(cluster: _Cluster) -> None:
    client = cast("redis.Redis", cluster)
    probing = Probe(client)
    settlements = Settlements(client, probing, grace_s=60)
    for part, count in (("dead", 120), ("live", 400)):
        for number in range(count):
            settlements.settle(part, str(number), Bill([], Used(1)))

    async def live_ones() -> bool:
        return len(cluster.settled["live"]) == 400

    async def all_of_them() -> bool:
        return len(cluster.settled["dead"]) == 120

    async with settlements.delivering():
        await eventually(live_ones, within_s=20)
        # One batch found out; the rest is not even sent before the server is back.
        assert {"dead": BATCH, "live": 400} == cluster.sent
        cluster.dead.clear()
        await eventually(all_of_them, within_s=20)
        assert {"dead": BATCH + 120, "live": 400} == cluster.sent
    await probing.close()
