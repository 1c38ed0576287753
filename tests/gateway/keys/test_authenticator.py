"""Who holds a key, against a real PostgreSQL and a real Valkey."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis import errors, redis
from services.gateway import postgres
from services.gateway.config.live import Live
from services.gateway.config.plans import Plans
from services.gateway.keys import changes
from services.gateway.keys.authenticator import Authenticator, bearer
from services.gateway.keys.owners import OwnerStore
from services.gateway.keys.permissions import Caller
from services.gateway.keys.store import KeyStore
from services.gateway.migrate import migrate
from services.local.postgres import UNSAFE, Postgres
from services.local.server import started
from services.local.valkey import Valkey
from tests.gateway.authentication import (
    ADMIN,
    BOOTSTRAP,
    DIGESTS,
    alone,
    authenticating,
    store_of,
    until_refused,
)
from tests.gateway.conftest import eventually


async def test_the_keys_from_the_environment_need_no_database(keys: Authenticator) -> None:
    admin, bootstrap = await keys.caller(ADMIN), await keys.caller(BOOTSTRAP)

    assert (True, False) == (admin.is_admin, bootstrap.is_admin)
    assert ("pro", "bootstrap") == (bootstrap.plan.name, bootstrap.user_id)
    assert admin == await keys.admin(ADMIN)
    with pytest.raises(errors.Forbidden):
        await keys.admin(BOOTSTRAP)


async def test_a_key_brings_its_own_limits_and_those_it_counts_for(
    keys: Authenticator, store: KeyStore, owners: OwnerStore
) -> None:
    await owners.put_organization("admin", "acme", {"budget_nano_usd": 7, "budget_period": "day"})
    await owners.put_user("admin", "ann", {"organization_id": "acme", "rpm_limit": 9})
    made = await store.create(
        "admin",
        {"user_id": "ann", "plan": "plus", "tpm_limit": 5, "models": ["gpt"], "metadata": {"team": 1}},
    )

    caller = await keys.caller(made["key"])

    assert (made["key_id"], "ann", "acme", "organization:acme", "plus") == (
        caller.key_id,
        caller.user_id,
        caller.organization_id,
        caller.tenant,
        caller.plan.name,
    )
    key, user, organization = caller.subjects
    assert (100, 5, 20_000_000_000) == (key.rate.rpm, key.rate.tpm, key.budget and key.budget.limit_nano_usd)
    assert (9, None) == (user.rate.rpm, user.budget)
    assert 7 == (organization.budget and organization.budget.limit_nano_usd)
    assert (("gpt",), {"team": 1}) == (caller.models, caller.metadata)


@pytest.mark.parametrize("key", ["", "x", "sk-other-1", "sk-lumni-unknown", "sk-lumni-" + "a" * 300])
async def test_a_key_that_is_none_of_ours_is_refused(keys: Authenticator, key: str) -> None:
    with pytest.raises(errors.Unauthenticated) as caught:
        await keys.caller(key)

    assert "INVALID_API_KEY" == caught.value.reason
    # OpenAI's words, by which LiteLLM's SDK knows what is wrong.
    assert caught.value.message.startswith("Incorrect API key provided: " if key else "no API key: ")


@given(
    text=st.one_of(
        st.text(max_size=300), st.from_regex(r"sk-lumni-('|\"|;|--| OR 1=1|\x00|\\)*.*", fullmatch=True)
    )
)
async def test_no_header_however_odd_is_anything_but_refused(keys: Authenticator, text: str) -> None:
    with pytest.raises(errors.Unauthenticated):
        await keys.caller(text)


async def test_keys_with_equal_beginnings_and_ends_share_nothing(
    keys: Authenticator, pool: postgres.Pool
) -> None:
    shared = "sk-lumni-" + "a" * 100
    for i in range(3):
        await pool.execute(
            "INSERT INTO virtual_keys (key_id, hint, plan) VALUES ($1, 'aaaa', 'free')",
            f"key{i}",
        )
        await pool.execute(
            "INSERT INTO key_secrets (digest, key_id) VALUES ($1, $2)",
            DIGESTS.of(f"{shared}{i}aaaa"),
            f"key{i}",
        )

    found = [(await keys.caller(f"{shared}{i}aaaa")).key_id for _ in range(2) for i in range(3)]

    assert ["key0", "key1", "key2"] * 2 == found
    with pytest.raises(errors.Unauthenticated):
        await keys.caller(f"{shared}3aaaa")


async def test_an_expired_key_is_refused(keys: Authenticator, store: KeyStore, pool: postgres.Pool) -> None:
    made = await store.create("admin", {})
    await keys.caller(made["key"])
    await pool.execute("UPDATE virtual_keys SET expires_at = now() - interval '1 s'")
    await store.change("admin", made["key_id"], {"models": ["a"]})

    await until_refused(keys, made["key"])


async def test_a_known_key_costs_the_database_nothing(keys: Authenticator, store: KeyStore) -> None:
    made = await store.create("admin", {})

    callers = [await keys.caller(made["key"]) for _ in range(1000)]

    # Read once, and once more where the news of its creation comes after that.
    assert len({id(one) for one in callers}) <= 2
    assert callers[-1] is keys.remembered(made["key"])


async def test_a_known_key_has_the_limits_of_a_plan_as_it_is(
    pool: postgres.Pool, client: redis.Redis, store: KeyStore, configured: Plans
) -> None:
    made = await store.create("admin", {"plan": "free"})
    live = Live(configured)
    async with authenticating(pool, client, live) as keys:
        before = await keys.caller(made["key"])
        free = replace(before.plan, rate=replace(before.plan.rate, rpm=7), max_output_tokens=77)
        live.replace(replace(configured, by_name={**configured.by_name, "free": free}))

        after = await keys.caller(made["key"])
        assert before.plan.max_output_tokens != 77
        assert (77, 7) == (after.plan.max_output_tokens, after.plan.rate.rpm)

        live.replace(replace(configured, by_name={"plus": configured.by_name["plus"]}))
        with pytest.raises(errors.Forbidden, match="'free' of this key is not configured any more"):
            await keys.caller(made["key"])


async def test_only_good_keys_that_were_met_are_remembered(keys: Authenticator, store: KeyStore) -> None:
    made, unmet = await store.create("admin", {}), await store.create("admin", {})
    await keys.caller(made["key"])

    assert not any(map(keys.remembered, (unmet["key"], "", "sk-none", "x" * 1000)))
    await store.revoke("admin", made["key_id"])
    await until_refused(keys, made["key"])
    assert keys.remembered(made["key"]) is None


async def test_a_crowd_with_one_new_key_asks_the_database_once(keys: Authenticator, store: KeyStore) -> None:
    made = await store.create("admin", {})

    callers: list[Caller] = await asyncio.gather(*(keys.caller(made["key"]) for _ in range(200)))

    assert all(one is callers[0] for one in callers)


async def test_without_postgresql_known_keys_work_and_unknown_ones_get_503(
    make_postgres: Callable[[], Postgres], client: redis.Redis, valkey: str, configured: Plans
) -> None:
    server = make_postgres()
    await server.start()
    await migrate(server.url)
    async with alone(server.url, valkey, Live(configured)) as keys:
        async with postgres.pool(server.url) as pool:
            store = store_of(pool, client, configured)
            known, unknown = await store.create("admin", {}), await store.create("admin", {})
        caller = await keys.caller(known["key"])
        await server.stop()

        assert caller == await keys.caller(known["key"])
        for key in (unknown["key"], "sk-lumni-who-knows"):
            with pytest.raises(errors.Unavailable) as caught:
                await keys.caller(key)
            assert caught.value.retry_after_s

        await server.start()

        async def works() -> bool:
            try:
                return bool(unknown["key_id"] == (await keys.caller(unknown["key"])).key_id)
            except errors.Unavailable:
                return False

        await eventually(works)


async def test_postgresql_out_of_connections_is_503_for_unknown_keys_and_nothing_for_known_ones(
    servers_folder: Path, client: redis.Redis, valkey: str, configured: Plans
) -> None:
    few = {
        **UNSAFE,
        "max_connections": "8",
        "superuser_reserved_connections": "0",
        "reserved_connections": "0",
    }
    async with started(Postgres(servers_folder / uuid4().hex, settings=few)) as server:
        await migrate(server.url)
        await out_of_connections(server, client, valkey, configured)


async def out_of_connections(server: Postgres, client: redis.Redis, valkey: str, configured: Plans) -> None:
    async with alone(server.url, valkey, Live(configured)) as keys, AsyncExitStack() as hogs:
        async with postgres.pool(server.url) as pool:
            made = await store_of(pool, client, configured).create("admin", {})
        caller = await keys.caller(made["key"])
        with pytest.raises(asyncpg.TooManyConnectionsError):
            while True:
                hog = await asyncpg.connect(server.url, timeout=5)
                hogs.push_async_callback(hog.close)

        assert caller == await keys.caller(made["key"])
        async with alone(server.url, valkey, Live(configured)) as newcomer:
            with pytest.raises(errors.Unavailable):
                await newcomer.caller(made["key"])


async def test_cut_off_from_both_stores_a_known_key_is_good_only_so_long(
    make_postgres: Callable[[], Postgres],
    make_valkey: Callable[[], Valkey],
    configured: Plans,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server, store = make_postgres(), make_valkey()
    await server.start()
    await store.start()
    await migrate(server.url)
    async with alone(server.url, store.url, Live(configured), stale_s=600.0) as keys:
        async with postgres.pool(server.url) as pool, redis.connect(store.url) as client:
            made = await store_of(pool, client, configured).create("admin", {})
        await keys.caller(made["key"])
        await server.stop()
        await store.stop()
        await keys.caller(made["key"])

        later = SimpleNamespace(monotonic=lambda: time.monotonic() + 601)
        monkeypatch.setattr(changes, "time", later)
        with pytest.raises(errors.Unavailable):
            await keys.caller(made["key"])


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("Bearer sk-lumni-a", "sk-lumni-a"),
        ("bearer   sk-lumni-a ", "sk-lumni-a"),
        ("Basic sk-lumni-a", ""),
        ("sk-lumni-a", ""),
        ("Bearer", ""),
        ("", ""),
    ],
)
def test_only_a_bearer_header_shows_a_key(header: str, key: str) -> None:
    assert key == bearer([header])


def test_no_header_shows_no_key_and_two_are_refused() -> None:
    assert "" == bearer([])
    with pytest.raises(errors.Invalid) as caught:
        bearer(["Bearer sk-lumni-a", "Bearer sk-lumni-b"])
    assert "authorization" == caught.value.param
