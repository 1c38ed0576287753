"""What the gateway knows of deployments while parts are up, slow or down."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from lumni.executor.v1 import executor_pb2 as pb

from services.chassis import errors, prices, redis, redis_keys, rpc
from services.chassis.deployments import Deployment, Fleet
from services.gateway.health import provider_reports
from services.gateway.health.deployments import State
from services.gateway.health.provider_reports import ProviderReports, Source
from services.gateway.peers import clients
from services.gateway.peers.clients import Executor

FLEET = Fleet((Deployment("d", "model", "openai", "openai/m", prices.UNPRICED),))
NOBODY = "redis://127.0.0.1:1"


class Asked(Executor):
    """An executor that counts how often it is asked, and may be down."""

    def __init__(self, *, up: bool = True) -> None:
        self.asked = 0
        self.up = up

    async def deployments(self) -> list[pb.Deployment]:
        self.asked += 1
        if not self.up:
            raise errors.Unavailable("down")
        return [pb.Deployment(id="d", health=health("asked"))]


def health(replica: str, **fields: Any) -> pb.DeploymentHealth:
    now = int(time.time() * 1000)
    return pb.DeploymentHealth(deployment="d", replica=replica, callable=True, updated_unix_ms=now, **fields)


async def publish(client: redis.Redis, *reports: pb.DeploymentHealth) -> None:
    for one in reports:
        await client.hset(redis_keys.health(one.replica), "d", one.SerializeToString())
        await client.sadd(redis_keys.HEALTH_REPLICAS, one.replica)


async def test_every_replicas_report_counts(client: redis.Redis) -> None:
    executor = Asked()
    await publish(
        client,
        health("a", breaker=pb.BREAKER_STATE_OPEN, rests_until_unix_ms=int(time.time() * 1000) + 60_000),
        health("b", breaker=pb.BREAKER_STATE_OPEN),
    )
    view = await ProviderReports(client, executor, FLEET).latest()

    assert (view.source, view.replicas, executor.asked) == (Source.REDIS, ("a", "b"), 0)
    [one] = view.deployments
    assert (one.model, one.state) == ("model", State.OPEN)
    assert one.rests_until_unix_ms > time.time() * 1000


async def test_a_crowd_asks_once() -> None:
    executor = Asked()
    async with redis.connect(NOBODY) as nobody:
        reports = ProviderReports(nobody, executor, FLEET)
        views = await asyncio.gather(*(reports.latest() for _ in range(100)))

    assert 1 == executor.asked
    assert {Source.EXECUTOR} == {view.source for view in views}
    assert {State.OK} == {one.state for view in views for one in view.deployments}


async def test_what_nobody_confirms_becomes_unknown() -> None:
    executor = Asked()
    async with redis.connect(NOBODY) as nobody:
        reports = ProviderReports(nobody, executor, FLEET)
        read = await reports.latest()
        executor.up = False
        reports._read_at -= provider_reports.REMEMBERED_S + 1
        kept = await reports.latest()
        # As if so much time had passed.
        reports._reports = [replace(one, updated_unix_ms=1) for one in reports._reports]
        old = await reports.latest()

    assert (Source.MEMORY, read.read_unix_s) == (kept.source, kept.read_unix_s)
    assert [State.OK] == [one.state for one in kept.deployments]
    assert [State.UNKNOWN] == [one.state for one in old.deployments]
    assert () == old.replicas


async def test_without_any_source_it_says_that_nothing_is_known() -> None:
    async with redis.connect(NOBODY) as nobody:
        view = await ProviderReports(nobody, Asked(up=False), FLEET).latest()

    assert (Source.MEMORY, 0.0) == (view.source, view.read_unix_s)
    assert [State.UNKNOWN] == [one.state for one in view.deployments]


class Frozen:
    """Accepts connections and answers nothing, as a stopped process does."""

    def __init__(self) -> None:
        self.address = ""
        self._writers: list[asyncio.StreamWriter] = []

    @property
    def connections(self) -> int:
        """How many have come."""
        return len(self._writers)

    def _hold(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._hold, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        self.address = f"{host}:{port}"
        async with server:
            yield
            for writer in self._writers:
                writer.transport.abort()


@pytest.fixture
async def frozen_redis() -> AsyncIterator[Frozen]:
    one = Frozen()
    async with one.listening():
        yield one


@pytest.fixture
async def frozen_executor(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Executor]:
    """The real client, whose calls nobody answers."""
    monkeypatch.setattr(clients, "LIST_TIMEOUT_S", 0.2)
    one = Frozen()
    async with (
        one.listening(),
        rpc.connect(one.address, rpc.Settings(), clients.EXECUTOR, repeatable=False) as channel,
    ):
        yield Executor(channel, rpc.Settings())


async def test_while_redis_is_frozen_a_crowd_waits_once_and_sees_what_one_executor_knows(
    frozen_redis: Frozen,
) -> None:
    executor = Asked()
    async with redis.connect(f"redis://{frozen_redis.address}") as client, asyncio.timeout(60):
        reports = ProviderReports(client, executor, FLEET)
        views = await asyncio.gather(*(reports.latest() for _ in range(100)))

    assert (1, 1) == (frozen_redis.connections, executor.asked)
    assert {Source.EXECUTOR} == {view.source for view in views}
    assert {State.OK} == {one.state for view in views for one in view.deployments}


async def test_while_redis_and_executor_are_frozen_what_was_read_last_is_shown_until_it_is_too_old(
    client: redis.Redis, frozen_redis: Frozen, frozen_executor: Executor
) -> None:
    await publish(client, health("a"))
    reports = ProviderReports(client, frozen_executor, FLEET)
    read = await reports.latest()
    assert (Source.REDIS, [State.OK]) == (read.source, [one.state for one in read.deployments])

    async with redis.connect(f"redis://{frozen_redis.address}") as frozen, asyncio.timeout(60):
        reports._redis = frozen
        reports._read_at -= provider_reports.REMEMBERED_S + 1
        kept = await asyncio.gather(*(reports.latest() for _ in range(100)))
        assert {(Source.MEMORY, read.read_unix_s)} == {(view.source, view.read_unix_s) for view in kept}
        assert 1 == frozen_redis.connections

        too_old = int(time.time() * 1000) - redis_keys.HEALTH_TTL_MS - 1
        reports._reports = [replace(one, updated_unix_ms=too_old) for one in reports._reports]
        old = await reports.latest()
    assert [State.UNKNOWN] == [one.state for one in old.deployments]
    assert (Source.MEMORY, read.read_unix_s, ()) == (old.source, old.read_unix_s, old.replicas)


async def test_when_redis_answers_again_every_replicas_report_counts_again(
    client: redis.Redis, frozen_redis: Frozen, frozen_executor: Executor
) -> None:
    async with redis.connect(f"redis://{frozen_redis.address}") as frozen, asyncio.timeout(60):
        reports = ProviderReports(frozen, frozen_executor, FLEET)
        view = await reports.latest()
        assert (Source.MEMORY, [State.UNKNOWN]) == (view.source, [one.state for one in view.deployments])

    reports._redis = client
    reports._read_at -= provider_reports.REMEMBERED_S + 1
    await publish(client, health("a"))
    view = await reports.latest()
    assert (Source.REDIS, [State.OK]) == (view.source, [one.state for one in view.deployments])
