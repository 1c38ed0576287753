"""Consumers of the streams: nothing is lost or written twice while ledgers and stores come and go."""

import asyncio
from collections.abc import Callable

from services.chassis import redis, redis_keys
from services.gateway import postgres
from services.gateway.migrate import migrate
from services.local.postgres import Postgres
from tests.gateway.conftest import eventually
from tests.gateway.ledgers import Ledger, acknowledged, written
from tests.gateway.money import (
    FINAL,
    STARTED,
    append,
    event,
)


async def test_many_ledgers_share_the_work_and_count_once(
    pool: postgres.Pool, database: str, client: redis.Redis, valkey: str
) -> None:
    async with (
        postgres.pool(database) as other_pool,
        redis.connect(valkey, timeout_s=5) as other_client,
        Ledger(pool, client).open(),
        Ledger(other_pool, other_client).open(),
    ):
        for start in range(0, 1000, 50):
            await append(
                client,
                *(
                    event(FINAL, request=f"r{i}", cost=i, user=f"u{i % 7}", key=f"k{(i * 5) % 11}")
                    for i in range(start, start + 50)
                ),
            )
        await written(pool, 1000)
    assert sum(range(1000)) == await pool.fetchval(
        "SELECT sum(spent_nano_usd) FROM budget_spend WHERE subject LIKE 'user:%' AND period = 'total'"
    )


async def test_what_a_dead_ledger_read_is_taken_over(
    ledger: Ledger, pool: postgres.Pool, client: redis.Redis
) -> None:
    async def group_exists() -> bool:
        return bool(
            await client.exists(redis_keys.USAGE_STREAM)
            and await client.xinfo_groups(redis_keys.USAGE_STREAM)
        )

    await eventually(group_exists)
    async with client.pipeline(transaction=True) as pipe:
        # In one transaction, so that the living ledger cannot be faster than the dead one.
        pipe.xadd(
            redis_keys.USAGE_STREAM,
            {redis_keys.EVENT_FIELD: event(FINAL, request="r1", cost=3).SerializeToString()},
        )
        pipe.xreadgroup(redis_keys.LEDGER_GROUP, "dead", {redis_keys.USAGE_STREAM: ">"}, count=10)
        _, read = await pipe.execute()
    assert read

    await written(pool, 1)
    await acknowledged(client)


async def test_the_ledger_waits_for_postgresql_and_loses_nothing(
    make_postgres: Callable[[], Postgres], client: redis.Redis
) -> None:
    server = make_postgres()
    await server.start()
    await migrate(server.url)
    async with postgres.pool(server.url, timeout_s=2) as pool, Ledger(pool, client).open():
        await append(client, *(event(FINAL, request=f"a{i}", cost=1) for i in range(50)))
        await written(pool, 50)
        await server.stop()
        await append(client, *(event(FINAL, request=f"b{i}", cost=1) for i in range(50)))
        await server.start()
        await written(pool, 100)
        assert 100 == await pool.fetchval(
            "SELECT spent_nano_usd FROM budget_spend WHERE subject = 'key:k1' AND period = 'total'"
        )


async def test_the_ledger_waits_for_locks_and_loses_nothing(
    ledger: Ledger, pool: postgres.Pool, client: redis.Redis
) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("LOCK TABLE budget_spend, open_attempts IN ACCESS EXCLUSIVE MODE")
        await append(
            client, *(event(kind, request=f"r{i}", cost=1) for i in range(50) for kind in (STARTED, FINAL))
        )

        async def read() -> bool:
            groups = (
                await client.xinfo_groups(redis_keys.USAGE_STREAM)
                if await client.exists(redis_keys.USAGE_STREAM)
                else []
            )
            return bool(groups and groups[0]["pending"])

        await eventually(read)
        # Longer than the ledger waits for a lock, so that it has to begin again.
        await asyncio.sleep(postgres.TIMEOUT_S + 0.2)
    await written(pool, 50)
    assert 50 == await pool.fetchval(
        "SELECT spent_nano_usd FROM budget_spend WHERE subject = 'key:k1' AND period = 'total'"
    )


async def test_the_stream_keeps_nothing_that_every_ledger_is_done_with(
    ledger: Ledger, pool: postgres.Pool, client: redis.Redis
) -> None:
    for start in range(0, 1000, 100):
        await append(client, *(event(FINAL, request=f"r{i}") for i in range(start, start + 100)))
    await written(pool, 1000)
    await acknowledged(client)

    assert await client.xlen(redis_keys.USAGE_STREAM) < 300
