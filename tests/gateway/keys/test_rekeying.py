"""A new LUMNI_KEY_SECRET, against a real PostgreSQL and a real Valkey."""

from typing import Any

import pytest

from services.chassis import errors, redis
from services.chassis.config import Secrets
from services.gateway import postgres
from services.gateway.config.live import Live
from services.gateway.config.plans import Plans
from services.gateway.keys.digests import Digests
from tests.gateway.authentication import ADMIN, authenticating, store_of

OLD, BOTH, NEW = (Digests(Secrets(one), Secrets(ADMIN)) for one in ("old", "new,old", "new"))


async def test_each_key_moves_to_the_new_secret_when_it_is_used(
    pool: postgres.Pool, client: redis.Redis, configured: Plans
) -> None:
    used, unused = [await store_of(pool, client, configured, OLD).create("admin", {}) for _ in range(2)]
    moving = store_of(pool, client, configured, BOTH)
    assert {used["key_id"], unused["key_id"]} == set((await moving.secret_progress())["waiting_key_ids"])

    async with authenticating(pool, client, Live(configured), digests=BOTH) as keys:
        assert used["key_id"] == (await keys.caller(used["key"])).key_id
        made = await moving.create("admin", {})

    assert {"keys": 3, "waiting": 1, "waiting_key_ids": [unused["key_id"]]} == await moving.secret_progress()
    async with authenticating(pool, client, Live(configured), digests=NEW) as keys:
        for key in (used, made):
            assert key["key_id"] == (await keys.caller(key["key"])).key_id
        with pytest.raises(errors.Unauthenticated):
            await keys.caller(unused["key"])


async def test_replicas_that_do_not_yet_write_under_the_new_secret_know_keys_that_moved(
    pool: postgres.Pool, client: redis.Redis, configured: Plans
) -> None:
    made = await store_of(pool, client, configured, OLD).create("admin", {})
    earlier = Digests(Secrets("old,new"), Secrets(ADMIN))

    for digests in (BOTH, earlier, BOTH):
        async with authenticating(pool, client, Live(configured), digests=digests) as keys:
            assert made["key_id"] == (await keys.caller(made["key"])).key_id


async def test_keys_that_have_ended_need_no_secret(
    pool: postgres.Pool, client: redis.Redis, configured: Plans
) -> None:
    before = store_of(pool, client, configured, OLD)
    made: list[dict[str, Any]] = [await before.create("admin", {}) for _ in range(2)]
    await before.revoke("admin", made[0]["key_id"])
    after = store_of(pool, client, configured, NEW)
    await after.rotate("admin", made[1]["key_id"], grace_s=0, idempotency_key=None)

    assert {"keys": 1, "waiting": 0, "waiting_key_ids": []} == await after.secret_progress()
