"""Limits, usage events and the ledger in a cluster: as exact as with one server, also when a primary dies."""

import asyncio
from pathlib import Path

import pytest

from services.chassis import errors, redis, redis_keys
from services.gateway import postgres
from services.gateway.limits.admission import Admission
from services.gateway.limits.partitions import Partitions
from tests.gateway.conftest import eventually
from tests.gateway.money import admit, bill
from tests.stores.money import COST, ORGANIZATIONS, exact_through, gateways, member, spent
from tests.stores.valkey_cluster import ValkeyCluster

pytestmark = pytest.mark.timeout(600)
STREAMS = 3


async def reserved(client: redis.Redis) -> int:
    """How many reservations are open."""
    commands: list[redis.Command] = [
        ("ZCARD", redis_keys.reservations(part)) for part in Partitions(client).names
    ]
    return sum(redis.checked(await redis.exchange(client, commands)))


async def test_of_many_requests_on_budgets_for_one_each_organization_gets_one(
    cluster: ValkeyCluster, client: redis.Redis, pool: postgres.Pool
) -> None:
    names = [f"org-{number}" for number in range(ORGANIZATIONS)]
    async with gateways(cluster, pool, 10) as both:

        async def ask(organization: str, number: int) -> Admission | None:
            try:
                return await admit(both[number % 2], member(organization, 1000))
            except errors.Exhausted:
                return None

        answers = await asyncio.gather(*(ask(name, number) for name in names for number in range(6)))
        admitted = [one for one in answers if one is not None]

        assert len(names) == len(admitted)
        assert all(one.admitted_unix_ms for one in admitted)
        # They lie at all three servers.
        servers = [await redis.server_of(client, redis_keys.reservations(one.part)) for one in admitted]
        assert 3 == len({id(one) for one in servers})
        for one in admitted:
            both[0].settle(one, bill(one, COST))

        async def settled() -> bool:
            return [COST] * len(names) == [await spent(client, name) for name in names]

        await eventually(settled)
        assert 0 == await reserved(client)


async def test_a_primary_that_dies_under_load_costs_nobody_a_nano_dollar(
    cluster: ValkeyCluster, client: redis.Redis, pool: postgres.Pool, tmp_path: Path
) -> None:
    async def fail_over() -> None:
        dead = await cluster.primary_of(redis_keys.USAGE_STREAM)
        dead.kill()
        await cluster.promoted(dead, redis_keys.USAGE_STREAM)
        await dead.start()
        await cluster.whole()

    await exact_through(fail_over, cluster, client, pool, tmp_path, streams=STREAMS)
