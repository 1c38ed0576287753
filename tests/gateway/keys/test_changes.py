"""Changed keys are known to every process within a second, whichever store it reaches."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from services.chassis import redis, redis_keys
from services.gateway import postgres
from services.gateway.config.live import Live
from services.gateway.config.plans import Plans
from services.gateway.keys.authenticator import Authenticator
from services.gateway.keys.changes import KEPT_S, OVERLAP_S, ChangeFeed, record
from services.gateway.keys.owners import OwnerStore
from services.gateway.keys.store import KeyStore
from services.gateway.migrate import migrate
from services.local.postgres import Postgres
from tests.gateway.authentication import (
    alone,
    authenticating,
    store_of,
    until_refused,
)
from tests.gateway.conftest import eventually


@asynccontextmanager
async def cut_off(
    server: Postgres, client: redis.Redis, valkey: str, configured: Plans
) -> AsyncIterator[tuple[Authenticator, dict[str, Any]]]:
    """A process that knows one key, which was just made, and no longer reaches its database."""
    await server.start()
    await migrate(server.url)
    async with alone(server.url, valkey, Live(configured)) as keys:
        async with postgres.pool(server.url) as pool:
            made = await store_of(pool, client, configured).create("admin", {})
        await keys.caller(made["key"])
        await server.stop()
        yield keys, made


async def test_a_revoked_key_is_refused_by_every_process(
    pool: postgres.Pool, client: redis.Redis, configured: Plans
) -> None:
    store = store_of(pool, client, configured)
    made = await store.create("admin", {})
    async with AsyncExitStack() as stack:
        processes = [
            await stack.enter_async_context(authenticating(pool, client, Live(configured))) for _ in range(3)
        ]
        for one in processes:
            await one.caller(made["key"])

        await store.revoke("admin", made["key_id"])

        await asyncio.gather(*(until_refused(one, made["key"]) for one in processes))


async def test_a_revoked_key_is_refused_by_a_process_that_reaches_postgresql_alone(
    database: str, keys: Authenticator, store: KeyStore, configured: Plans
) -> None:
    made = await store.create("admin", {})
    async with alone(database, "redis://127.0.0.1:1", Live(configured)) as other:
        await other.caller(made["key"])

        await store.revoke("admin", made["key_id"])

        await until_refused(other, made["key"])


async def test_a_revoked_key_is_refused_by_a_process_that_reaches_redis_alone(
    make_postgres: Callable[[], Postgres], client: redis.Redis, valkey: str, configured: Plans
) -> None:
    async with cut_off(make_postgres(), client, valkey, configured) as (other, made):
        # What the admin's process did, with the database out of this one's reach.
        await client.xadd(redis_keys.KEY_CHANGES, {"subject": f"key:{made['key_id']}", "action": "revoked"})

        await until_refused(other, made["key"])


async def test_a_revocation_that_was_not_published_is_found_however_long_postgresql_was_out_of_reach(
    make_postgres: Callable[[], Postgres], valkey: str, client: redis.Redis, configured: Plans
) -> None:
    server = make_postgres()
    await server.start()
    await migrate(server.url)
    overlap_s = 1.0
    async with alone(server.url, valkey, Live(configured), overlap_s=overlap_s) as keys:
        async with postgres.pool(server.url) as pool:
            made = await store_of(pool, client, configured).create("admin", {})
            await keys.caller(made["key"])
            # Revoked a while ago while Redis was away too, and this process cut off: it never read of it.
            await eventually(lambda: nothing_is_new(keys))
        await server.stop()
        await asyncio.sleep(overlap_s + 1)
        await server.start()
        async with postgres.pool(server.url) as pool:
            ago = overlap_s + 0.5
            await pool.execute("UPDATE virtual_keys SET revoked_at = now()")
            await pool.execute(
                "INSERT INTO key_changes (subject, changed_at) VALUES ($1, now() - make_interval(secs => $2))",
                f"key:{made['key_id']}",
                ago,
            )

        await until_refused(keys, made["key"])


async def nothing_is_new(keys: Authenticator) -> bool:
    return not any(entry.stale for entry in keys._cache._known.values())


async def test_an_entry_that_makes_no_sense_does_not_end_the_feed(
    make_postgres: Callable[[], Postgres], client: redis.Redis, valkey: str, configured: Plans
) -> None:
    async with cut_off(make_postgres(), client, valkey, configured) as (other, made):
        await client.xadd(redis_keys.KEY_CHANGES, {"nonsense": "1"})
        await client.xadd(redis_keys.KEY_CHANGES, {"subject": f"key:{made['key_id']}", "action": "revoked"})

        await until_refused(other, made["key"])


async def test_a_change_of_plan_takes_effect_soon(keys: Authenticator, store: KeyStore) -> None:
    made = await store.create("admin", {"plan": "free"})
    assert 20 == (await keys.caller(made["key"])).subjects[0].rate.rpm

    await store.change("admin", made["key_id"], {"plan": "pro"})

    async def changed() -> bool:
        return 500 == (await keys.caller(made["key"])).subjects[0].rate.rpm

    await eventually(changed)


async def test_a_change_of_an_organization_reaches_its_keys(
    keys: Authenticator, store: KeyStore, owners: OwnerStore
) -> None:
    await owners.put_organization("admin", "acme", {})
    await owners.put_user("admin", "ann", {"organization_id": "acme"})
    made = await store.create("admin", {"user_id": "ann"})
    await keys.caller(made["key"])

    await owners.put_organization("admin", "acme", {"rpm_limit": 3})

    async def changed() -> bool:
        return 3 == (await keys.caller(made["key"])).subjects[2].rate.rpm

    await eventually(changed)


@pytest.mark.parametrize(("overlap_s", "missed"), [(OVERLAP_S, False), (KEPT_S, True)])
async def test_changes_are_missed_only_by_a_process_that_was_away_for_longer_than_they_are_kept(
    pool: postgres.Pool, client: redis.Redis, overlap_s: float, missed: bool
) -> None:
    # All that is kept is read again: any time away is too long.
    feed = ChangeFeed(pool, client, overlap_s=overlap_s)
    gaps: list[float] = []
    changes: list[tuple[str, bool]] = []
    feed.on_gap(lambda: gaps.append(feed.silent_s))
    feed.on_change(lambda subject, revoked: changes.append((subject, revoked)))

    async with feed.watching():
        await pool.execute("INSERT INTO key_changes (subject) VALUES ('key:a')")

        async def read() -> bool:
            return ("key:a", False) in changes

        await eventually(read)

    assert missed == bool(gaps)


async def test_a_revocation_that_redis_did_not_take_is_marked_as_one(
    pool: postgres.Pool, configured: Plans
) -> None:
    changes: set[tuple[str, bool]] = set()
    async with redis.connect("redis://127.0.0.1:1", timeout_s=0.2) as unreachable:
        store = store_of(pool, unreachable, configured)
        changed, revoked, left = [
            (await store.create("admin", {"user_id": user}))["key_id"] for user in ("ann", "bob", "cleo")
        ]
        feed = ChangeFeed(pool, unreachable, overlap_s=0.0)
        feed.on_change(lambda subject, is_revoked: changes.add((subject, is_revoked)))
        async with feed.watching():
            await store.change("admin", changed, {"rpm_limit": 5})
            await store.revoke("admin", revoked)
            await store.revoke_all("admin", "cleo")
            expected = {(f"key:{changed}", False), (f"key:{revoked}", True), ("user:cleo", True)}

            async def all_read() -> bool:
                return expected <= changes

            await eventually(all_read)
    assert (f"key:{left}", True) not in changes


async def test_a_change_does_not_wait_for_a_longer_transaction_that_deletes_old_changes(
    database: str, pool: postgres.Pool, store: KeyStore
) -> None:
    made = await store.create("admin", {})
    await pool.execute(
        "INSERT INTO key_changes (subject, changed_at) VALUES ('key:old', now() - make_interval(secs => $1))",
        KEPT_S + 60,
    )
    async with postgres.pool(database) as other, postgres.connection(other) as importing:
        async with importing.transaction():
            await record(importing, "key:imported")

            await asyncio.wait_for(store.revoke("admin", made["key_id"]), 10)

    assert await pool.fetchval("SELECT revoked_at FROM virtual_keys WHERE key_id = $1", made["key_id"])
    assert not await pool.fetchval("SELECT count(*) FROM key_changes WHERE subject = 'key:old'")
