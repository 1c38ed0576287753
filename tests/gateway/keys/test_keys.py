"""Virtual keys against a real PostgreSQL and a real Valkey."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lumni.chat.v1 import chat_pb2
from lumni.classifier.v1 import classifier_pb2
from lumni.events.v1 import events_pb2

from services.chassis import errors, redis, redis_keys
from services.chassis.config import Secret
from services.gateway import postgres
from services.gateway.config.budgets import Budget, Period
from services.gateway.config.plans import Plans, Rate
from services.gateway.keys import authenticator as module
from services.gateway.keys.authenticator import Caller, Keys, Subject
from services.gateway.keys.store import Registry
from services.gateway.ledger import rows
from services.gateway.ledger.__main__ import Bookkeeper
from services.gateway.ledger.store import Journal
from services.gateway.limits.admission import Limits
from services.gateway.migrate import migrate
from services.local.postgres import UNSAFE, Postgres
from services.local.server import started
from services.local.valkey import Valkey
from tests.gateway.conftest import eventually
from tests.gateway.money import FINAL, STARTED, Offer, admit, caller, event, held, spent

ADMIN = "sk-lumni-admin-0123456789"
BOOTSTRAP = "sk-lumni-bootstrap-0123456789"


@pytest.fixture
def make_keys(pool: postgres.Pool, client: redis.Redis, configured: Plans) -> Callable[..., Keys]:
    def make(**more: object) -> Keys:
        given = {"admin_key": Secret(ADMIN), "api_key": Secret(BOOTSTRAP), "secret": Secret("pepper")}
        return Keys(pool, client, configured, **{**given, **more})  # type: ignore[arg-type]

    return make


@pytest.fixture
async def keys(make_keys: Callable[..., Keys]) -> AsyncIterator[Keys]:
    async with (one := make_keys()).watching():
        yield one


@pytest.fixture
def registry(pool: postgres.Pool, client: redis.Redis, keys: Keys) -> Registry:
    return Registry(pool, client, keys)


async def refused_within(keys: Keys, key: str, seconds: float) -> float:
    """Use a key until it is refused; how long that took."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        try:
            await keys.caller(key)
        except errors.Unauthenticated:
            return time.monotonic() - began
        await asyncio.sleep(0.01)
    raise AssertionError(f"still good after {seconds} s")


async def test_the_keys_from_the_environment_need_no_database(keys: Keys) -> None:
    admin, bootstrap = await keys.caller(ADMIN), await keys.caller(BOOTSTRAP)

    assert (True, False) == (admin.is_admin, bootstrap.is_admin)
    assert ("pro", "bootstrap") == (bootstrap.plan.name, bootstrap.user_id)
    assert admin == await keys.admin(ADMIN)
    with pytest.raises(errors.Forbidden):
        await keys.admin(BOOTSTRAP)


async def test_a_key_brings_its_own_limits_and_those_it_counts_for(keys: Keys, registry: Registry) -> None:
    await registry.put_organization("admin", "acme", {"budget_nano_usd": 7, "budget_period": "day"})
    await registry.put_user("admin", "ann", {"organization_id": "acme", "rpm_limit": 9})
    made = await registry.create(
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


async def test_only_a_keyed_digest_is_stored(keys: Keys, registry: Registry, pool: postgres.Pool) -> None:
    made = await registry.create("admin", {"user_id": "ann"})

    stored = ""
    for table in ("virtual_keys", "key_secrets", "audit_events", "key_changes"):
        stored += str([tuple(row.values()) for row in await pool.fetch(f"SELECT * FROM {table}")])
    assert made["key"] not in stored
    assert made["key"][:-4] not in stored
    assert module.digest(made["key"], Secret("")) != module.digest(made["key"], Secret("pepper"))
    assert module.digest(made["key"], Secret("pepper")) == await pool.fetchval(
        "SELECT digest FROM key_secrets"
    )


@pytest.mark.parametrize("key", ["", "x", "sk-other-1", "sk-lumni-unknown", "sk-lumni-" + "a" * 300])
async def test_a_key_that_is_none_of_ours_is_refused(keys: Keys, key: str) -> None:
    with pytest.raises(errors.Unauthenticated) as caught:
        await keys.caller(key)

    assert "INVALID_API_KEY" == caught.value.reason


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    text=st.one_of(
        st.text(max_size=300), st.from_regex(r"sk-lumni-('|\"|;|--| OR 1=1|\x00|\\)*.*", fullmatch=True)
    )
)
async def test_no_header_however_odd_is_anything_but_refused(keys: Keys, text: str) -> None:
    with pytest.raises(errors.Unauthenticated):
        await keys.caller(text)


async def test_keys_with_equal_beginnings_and_ends_share_nothing(keys: Keys, pool: postgres.Pool) -> None:
    shared = "sk-lumni-" + "a" * 100
    for i in range(3):
        await pool.execute(
            "INSERT INTO virtual_keys (key_id, hint, plan) VALUES ($1, 'aaaa', 'free')",
            f"key{i}",
        )
        await pool.execute(
            "INSERT INTO key_secrets (digest, key_id) VALUES ($1, $2)",
            keys.digest(f"{shared}{i}aaaa"),
            f"key{i}",
        )

    found = [(await keys.caller(f"{shared}{i}aaaa")).key_id for _ in range(2) for i in range(3)]

    assert ["key0", "key1", "key2"] * 2 == found
    with pytest.raises(errors.Unauthenticated):
        await keys.caller(f"{shared}3aaaa")


async def test_an_expired_key_is_refused(keys: Keys, registry: Registry, pool: postgres.Pool) -> None:
    made = await registry.create("admin", {})
    await keys.caller(made["key"])
    await pool.execute("UPDATE virtual_keys SET expires_at = now() - interval '1 s'")
    await registry.change("admin", made["key_id"], {"models": ["a"]})

    await refused_within(keys, made["key"], 1.0)


async def test_a_revoked_key_is_refused_within_a_second_by_every_process(
    make_keys: Callable[..., Keys], pool: postgres.Pool, client: redis.Redis
) -> None:
    async with AsyncExitStack() as stack:
        processes = [make_keys() for _ in range(3)]
        for one in processes:
            await stack.enter_async_context(one.watching())
        registry = Registry(pool, client, processes[0])
        made = await registry.create("admin", {})
        for one in processes:
            await one.caller(made["key"])

        await registry.revoke("admin", made["key_id"])

        await asyncio.gather(*(refused_within(one, made["key"], 1.0) for one in processes))


@asynccontextmanager
async def alone(database: str, valkey: str, plans: Plans, **more: Any) -> AsyncIterator[Keys]:
    """Keys of a process with stores of its own, which may be down."""
    async with postgres.pool(database, timeout_s=1) as pool, redis.connect(valkey, timeout_s=2) as client:
        keys = Keys(pool, client, plans, admin_key=Secret(ADMIN), secret=Secret("pepper"), **more)
        async with keys.watching():
            yield keys


async def test_a_revoked_key_is_refused_by_a_process_that_reaches_postgresql_alone(
    database: str, keys: Keys, registry: Registry, configured: Plans
) -> None:
    made = await registry.create("admin", {})
    async with alone(database, "redis://127.0.0.1:1", configured) as other:
        await other.caller(made["key"])

        await registry.revoke("admin", made["key_id"])

        await refused_within(other, made["key"], 1.0)


async def test_a_revoked_key_is_refused_by_a_process_that_reaches_redis_alone(
    make_postgres: Callable[[], Postgres], client: redis.Redis, valkey: str, configured: Plans
) -> None:
    server = make_postgres()
    await server.start()
    await migrate(server.url)
    async with alone(server.url, valkey, configured) as other:
        async with postgres.pool(server.url) as pool:
            made = await Registry(pool, client, other).create("admin", {})
        await other.caller(made["key"])
        # What the admin's process did, with the database out of this one's reach.
        await server.stop()
        await client.xadd(redis_keys.KEY_CHANGES, {"subject": f"key:{made['key_id']}", "action": "revoked"})

        await refused_within(other, made["key"], 1.0)


async def test_a_revocation_that_nobody_announced_is_found_however_long_postgresql_was_out_of_reach(
    make_postgres: Callable[[], Postgres], valkey: str, client: redis.Redis, configured: Plans
) -> None:
    server = make_postgres()
    await server.start()
    await migrate(server.url)
    overlap_s = 1.0
    async with alone(server.url, valkey, configured, overlap_s=overlap_s) as keys:
        async with postgres.pool(server.url) as pool:
            made = await Registry(pool, client, keys).create("admin", {})
            await keys.caller(made["key"])
            # Revoked a while ago while Redis was away too, and this process cut off: it never heard of it.
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

        await refused_within(keys, made["key"], 5.0)


async def nothing_is_new(keys: Keys) -> bool:
    return not any(entry.stale for entry in keys._known.values())


async def test_an_entry_that_makes_no_sense_does_not_end_the_hearing(
    make_postgres: Callable[[], Postgres], client: redis.Redis, valkey: str, configured: Plans
) -> None:
    server = make_postgres()
    await server.start()
    await migrate(server.url)
    async with alone(server.url, valkey, configured) as other:
        async with postgres.pool(server.url) as pool:
            made = await Registry(pool, client, other).create("admin", {})
        await other.caller(made["key"])
        await server.stop()
        await client.xadd(redis_keys.KEY_CHANGES, {"nonsense": "1"})
        await client.xadd(redis_keys.KEY_CHANGES, {"subject": f"key:{made['key_id']}", "action": "revoked"})

        await refused_within(other, made["key"], 3.0)


async def test_without_postgresql_known_keys_work_and_unknown_ones_get_503(
    make_postgres: Callable[[], Postgres], client: redis.Redis, valkey: str, configured: Plans
) -> None:
    server = make_postgres()
    await server.start()
    await migrate(server.url)
    async with alone(server.url, valkey, configured) as keys:
        async with postgres.pool(server.url) as pool:
            registry = Registry(pool, client, keys)
            known, unknown = await registry.create("admin", {}), await registry.create("admin", {})
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
    async with alone(server.url, valkey, configured) as keys, AsyncExitStack() as hogs:
        async with postgres.pool(server.url) as pool:
            made = await Registry(pool, client, keys).create("admin", {})
        caller = await keys.caller(made["key"])
        with pytest.raises(asyncpg.TooManyConnectionsError):
            while True:
                hog = await asyncpg.connect(server.url, timeout=5)
                hogs.push_async_callback(hog.close)

        assert caller == await keys.caller(made["key"])
        async with alone(server.url, valkey, configured) as newcomer:
            with pytest.raises(errors.Unavailable):
                await newcomer.caller(made["key"])


async def test_cut_off_from_both_stores_a_known_key_is_good_only_so_long(
    make_postgres: Callable[[], Postgres], make_valkey: Callable[[], Valkey], configured: Plans
) -> None:
    server, store = make_postgres(), make_valkey()
    await server.start()
    await store.start()
    await migrate(server.url)
    async with alone(server.url, store.url, configured, stale_s=1.0) as keys:
        async with postgres.pool(server.url) as pool, redis.connect(store.url) as client:
            made = await Registry(pool, client, keys).create("admin", {})
        await keys.caller(made["key"])
        await server.stop()
        await store.stop()
        await keys.caller(made["key"])

        async def forgotten() -> bool:
            try:
                await keys.caller(made["key"])
            except errors.Unavailable:
                return True
            return False

        await eventually(forgotten, within_s=5)


async def test_a_change_of_plan_takes_effect_within_a_second(keys: Keys, registry: Registry) -> None:
    made = await registry.create("admin", {"plan": "free"})
    assert 20 == (await keys.caller(made["key"])).subjects[0].rate.rpm

    await registry.change("admin", made["key_id"], {"plan": "pro"})

    async def changed() -> bool:
        return 500 == (await keys.caller(made["key"])).subjects[0].rate.rpm

    await eventually(changed, within_s=1)


async def test_a_change_of_an_organization_reaches_its_keys(keys: Keys, registry: Registry) -> None:
    await registry.put_organization("admin", "acme", {})
    await registry.put_user("admin", "ann", {"organization_id": "acme"})
    made = await registry.create("admin", {"user_id": "ann"})
    await keys.caller(made["key"])

    await registry.put_organization("admin", "acme", {"rpm_limit": 3})

    async def changed() -> bool:
        return 3 == (await keys.caller(made["key"])).subjects[2].rate.rpm

    await eventually(changed, within_s=1)


async def test_a_rotated_key_works_with_both_secrets_until_the_grace_is_over(
    keys: Keys, registry: Registry, pool: postgres.Pool
) -> None:
    made = await registry.create("admin", {"user_id": "ann"})
    await keys.caller(made["key"])

    rotated = await registry.rotate("admin", made["key_id"], grace_s=60, idempotency_key=None)

    assert made["key_id"] == (await keys.caller(made["key"])).key_id
    assert made["key_id"] == (await keys.caller(rotated["key"])).key_id
    await registry.rotate("admin", made["key_id"], grace_s=0, idempotency_key=None)
    await refused_within(keys, made["key"], 1.0)
    await refused_within(keys, rotated["key"], 1.0)


async def test_a_rotation_whose_answer_was_lost_is_asked_again(keys: Keys, registry: Registry) -> None:
    made = await registry.create("admin", {})

    first = await registry.rotate("admin", made["key_id"], grace_s=60, idempotency_key="i-1")
    again = await registry.rotate("admin", made["key_id"], grace_s=60, idempotency_key="i-1")
    other = await registry.rotate("admin", made["key_id"], grace_s=60, idempotency_key="i-2")

    assert (first["key"], first["old_valid_until"]) == (again["key"], again["old_valid_until"])
    assert first["key"] != other["key"]
    assert made["key_id"] == (await keys.caller(first["key"])).key_id


async def test_rotating_a_revoked_or_unknown_key_is_refused(registry: Registry) -> None:
    made = await registry.create("admin", {})
    await registry.revoke("admin", made["key_id"])

    with pytest.raises(errors.Conflict):
        await registry.rotate("admin", made["key_id"], grace_s=1, idempotency_key=None)
    with pytest.raises(errors.NotFound):
        await registry.rotate("admin", "nobody", grace_s=1, idempotency_key=None)


async def test_a_known_key_costs_the_database_nothing(keys: Keys, registry: Registry) -> None:
    made = await registry.create("admin", {})
    first = await keys.caller(made["key"])

    callers = [await keys.caller(made["key"]) for _ in range(1000)]

    assert all(one is first for one in callers)


async def test_a_crowd_with_one_new_key_asks_the_database_once(keys: Keys, registry: Registry) -> None:
    made = await registry.create("admin", {})

    callers: list[Caller] = await asyncio.gather(*(keys.caller(made["key"]) for _ in range(200)))

    assert all(one is callers[0] for one in callers)


async def test_every_change_leaves_a_trace_without_secrets(registry: Registry, pool: postgres.Pool) -> None:
    made = await registry.create("admin", {"user_id": "ann"})
    await registry.change("admin", made["key_id"], {"plan": "pro"})
    await registry.rotate("admin", made["key_id"], grace_s=5, idempotency_key=None)
    await registry.reset_limits("admin", made["key_id"])
    await registry.revoke("admin", made["key_id"])

    trail = await registry.audit(f"key:{made['key_id']}", 100)

    assert ["key.revoke", "key.reset_limits", "key.rotate", "key.change", "key.create"] == [
        one["action"] for one in trail
    ]
    assert {"plan": "pro"} == trail[3]["detail"]


async def test_an_erased_name_takes_late_events_along_and_may_be_used_again(
    registry: Registry, pool: postgres.Pool, client: redis.Redis
) -> None:
    journal = Journal(pool)
    ledger = Bookkeeper(client, journal)

    def told(request: str, kind: events_pb2.UsageKind.ValueType = FINAL, admitted_ms: int = 0) -> bytes:
        return event(
            kind, request=request, cost=100, user="ann", bound=900, admitted_ms=admitted_ms
        ).SerializeToString()

    before_ms = int(time.time() * 1000) - 60_000
    await registry.put_user("admin", "ann", {})
    await registry.create("admin", {"user_id": "ann"})
    for i in range(5):
        await ledger.usage([(f"1-{i}", told(f"r{i}", admitted_ms=before_ms))])
    await ledger.usage([("2-1", told("open", STARTED, before_ms))])
    await journal.set_aside("lumni:usage", [("3-1", "odd", told("odd")), ("3-2", "odd", b"\x05annas")])

    stranger = await registry.erase("admin", "ann")

    # Late: one attempt ends, one never did, and a decision comes out of a spool.
    await ledger.usage([("4-1", told("late", admitted_ms=before_ms))])
    await pool.execute("UPDATE open_attempts SET closes_at = now() - interval '1 s'")
    await ledger.close_overdue()
    decided = events_pb2.DecisionEvent(
        context=chat_pb2.RequestContext(request_id="late", user_id="ann"),
        classification=classifier_pb2.Classification(features=[1.0]),
        decided_unix_ms=before_ms,
    )
    await ledger.decisions([("5-1", decided.SerializeToString())])

    assert 7 == await pool.fetchval("SELECT count(*) FROM usage_records WHERE user_id = $1", stranger)
    assert 1500 == await pool.fetchval(
        "SELECT spent_nano_usd FROM budget_spend WHERE subject = $1 AND period = 'total'", f"user:{stranger}"
    )
    assert [b"\x05annas"] == [row["event"] for row in await pool.fetch("SELECT event FROM poison_events")]
    await pool.execute("DELETE FROM poison_events")
    await journal.forget_erased()
    assert "ann" == await pool.fetchval("SELECT user_id FROM erasures")
    await pool.execute("UPDATE erasures SET erased_at = now() - interval '31 days'")
    await journal.forget_erased()
    await pool.execute("DELETE FROM key_changes")
    for table in await pool.fetch(
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
    ):
        found = str([tuple(row.values()) for row in await pool.fetch(f"SELECT * FROM {table['relname']}")])
        assert "ann" not in found, table

    # Somebody else of that name begins with nothing, and what he spends counts from the first nano-dollar on.
    limits = Limits(client, pool, billable_attempts=1)
    who = caller(others=(Subject("user:ann", Rate(), Budget(1000, Period.TOTAL)),))
    admission = await admit(limits, who, offers=[Offer(max_cost_nano_usd=1000)])
    now_ms = admission.admitted_unix_ms
    await ledger.usage([("6-1", told(admission.request_id, admitted_ms=now_ms))])
    assert (100, 0) == (await spent(client, "user:ann"), await held(client, "user:ann"))
    with pytest.raises(errors.Exhausted):
        await admit(limits, who, offers=[Offer(max_cost_nano_usd=901)])


async def test_an_export_holds_everything_that_is_kept(registry: Registry, pool: postgres.Pool) -> None:
    made = await registry.create("admin", {"user_id": "ann"})
    await registry.create("admin", {"user_id": "bob"})
    journal = Journal(pool)
    for user, key in (("ann", made["key_id"]), ("bob", "k2")):
        one = event(FINAL, request=f"r-{user}", cost=1, user=user, key=key)
        await journal.book([rows.usage(one.SerializeToString())])

    exported = [one async for one in registry.export("admin", "ann")]

    found = Counter(table for table, _ in exported)
    assert {
        "users": 1,
        "virtual_keys": 1,
        "usage_records": 1,
        "usage_metrics": 1,
        # Day, week, month and total, of the user and of the key.
        "budget_spend": 8,
        # That the key was made, and that this was exported.
        "audit_events": 2,
    } == found
    assert "bob" not in str(exported)
