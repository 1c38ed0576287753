"""What the gateway knows of deployments while parts are up, slow or down."""

import asyncio
import time
from dataclasses import replace
from typing import Any

from lumni.executor.v1 import executor_pb2 as pb

from services.chassis import errors, prices, redis, redis_keys
from services.chassis.deployments import Deployment, Fleet
from services.gateway.health import provider_reports
from services.gateway.health.deployments import State
from services.gateway.health.provider_reports import ProviderReports, Source
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
