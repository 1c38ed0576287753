"""Which publications are kept, for how long, and how many: with a clock and servers of the test's own."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from services.chassis import redis
from services.chassis.lua import Script
from services.gateway.ledger import republication
from services.gateway.ledger.republication import KEPT_S, Call, Publications
from services.gateway.limits import scripts


class _Redis:
    """One server that may be away or replaced, and the time that passes meanwhile."""

    def __init__(self) -> None:
        self.run = "first"
        self.away = False
        self.now = 1000.0
        self.published: list[str] = []

    def monotonic(self) -> float:
        """The time of the module that is tested."""
        return self.now

    async def servers(self, _: redis.Redis) -> list[Any]:
        """The server itself."""
        return [self]

    async def info(self, _: str) -> dict[str, str]:
        """Which run it is."""
        if self.away:
            raise TimeoutError
        return {"run_id": self.run}

    async def run_all(self, _: Script, __: redis.Redis, calls: Sequence[Call]) -> list[Any]:
        """Takes publications."""
        if self.away:
            raise TimeoutError
        self.published += [one[0] for _, call in calls for one in call["attempts"]]
        return [1 for _ in calls]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> _Redis:
    one = _Redis()
    monkeypatch.setattr(redis, "servers", one.servers)
    monkeypatch.setattr(scripts, "run_all", one.run_all)
    monkeypatch.setattr(republication, "time", SimpleNamespace(monotonic=one.monotonic))
    return one


@pytest.fixture
async def publications(server: _Redis) -> Publications:
    one = Publications(cast("redis.Redis", server))
    await one.repeat()
    return one


def _call(request: str) -> Call:
    return "money", {"sums": [], "attempts": [[request, 1, True]]}


async def test_a_failover_of_whatever_length_loses_no_publication(
    server: _Redis, publications: Publications
) -> None:
    await publications.publish([_call("lost")])
    server.away = True
    for _ in range(5):
        server.now += KEPT_S
        with pytest.raises(TimeoutError):
            await publications.publish([_call("tried")])
        with pytest.raises(TimeoutError):
            await publications.repeat()
    server.away, server.run = False, "second"
    server.published.clear()

    await publications.publish([_call("tried")])
    await publications.repeat()

    # What was tried again and again is kept once.
    assert ["tried", "lost", "tried"] == server.published


async def test_what_a_server_has_had_for_long_is_forgotten_and_what_it_got_of_late_is_not(
    server: _Redis, publications: Publications
) -> None:
    await publications.publish([_call("old")])
    server.now += KEPT_S
    await publications.publish([_call("late")])
    server.now += 1
    await publications.repeat()
    server.run = "second"
    server.published.clear()

    await publications.repeat()
    assert ["late"] == server.published

    # It is new to this server, which may be replaced before its disk and replicas have it.
    server.now += KEPT_S - 0.5
    await publications.repeat()
    server.run = "third"
    await publications.repeat()
    assert ["late", "late"] == server.published


async def test_the_oldest_make_room(
    server: _Redis, publications: Publications, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(republication, "MOST", 2)
    for request in ("a", "b", "c"):
        await publications.publish([_call(request)])
    server.run = "second"
    server.published.clear()

    await publications.repeat()

    assert ["b", "c"] == server.published
