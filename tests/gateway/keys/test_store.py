"""Keys, made, rotated and revoked, in a real PostgreSQL."""

import pytest

from services.chassis import errors
from services.gateway import postgres
from services.gateway.keys.audit import AuditTrail
from services.gateway.keys.authenticator import Authenticator
from services.gateway.keys.digests import digest
from services.gateway.keys.store import KeyStore
from tests.gateway.authentication import (
    PEPPER,
    until_refused,
)


async def test_only_a_keyed_digest_is_stored(store: KeyStore, pool: postgres.Pool) -> None:
    made = await store.create("admin", {"user_id": "ann"})

    stored = ""
    for table in ("virtual_keys", "key_secrets", "audit_events", "key_changes"):
        stored += str([tuple(row.values()) for row in await pool.fetch(f"SELECT * FROM {table}")])
    assert made["key"] not in stored
    assert made["key"][:-4] not in stored
    assert digest(made["key"], "") != digest(made["key"], PEPPER.reveal())
    assert digest(made["key"], PEPPER.reveal()) == await pool.fetchval("SELECT digest FROM key_secrets")


async def test_a_rotated_key_works_with_both_secrets_until_the_grace_is_over(
    keys: Authenticator, store: KeyStore, pool: postgres.Pool
) -> None:
    made = await store.create("admin", {"user_id": "ann"})
    await keys.caller(made["key"])

    rotated = await store.rotate("admin", made["key_id"], grace_s=60, idempotency_key=None)

    assert made["key_id"] == (await keys.caller(made["key"])).key_id
    assert made["key_id"] == (await keys.caller(rotated["key"])).key_id
    await store.rotate("admin", made["key_id"], grace_s=0, idempotency_key=None)
    await until_refused(keys, made["key"])
    await until_refused(keys, rotated["key"])


async def test_a_rotation_whose_answer_was_lost_is_asked_again(keys: Authenticator, store: KeyStore) -> None:
    made = await store.create("admin", {})

    first = await store.rotate("admin", made["key_id"], grace_s=60, idempotency_key="i-1")
    again = await store.rotate("admin", made["key_id"], grace_s=60, idempotency_key="i-1")
    other = await store.rotate("admin", made["key_id"], grace_s=60, idempotency_key="i-2")

    assert (first["key"], first["old_valid_until"]) == (again["key"], again["old_valid_until"])
    assert first["key"] != other["key"]
    assert made["key_id"] == (await keys.caller(first["key"])).key_id


async def test_rotating_a_revoked_or_unknown_key_is_refused(store: KeyStore) -> None:
    made = await store.create("admin", {})
    await store.revoke("admin", made["key_id"])

    with pytest.raises(errors.Conflict):
        await store.rotate("admin", made["key_id"], grace_s=1, idempotency_key=None)
    with pytest.raises(errors.NotFound):
        await store.rotate("admin", "none", grace_s=1, idempotency_key=None)


async def test_every_change_leaves_a_trace_without_secrets(store: KeyStore, audit: AuditTrail) -> None:
    made = await store.create("admin", {"user_id": "ann"})
    await store.change("admin", made["key_id"], {"plan": "pro"})
    await store.rotate("admin", made["key_id"], grace_s=5, idempotency_key=None)
    await store.reset_limits("admin", made["key_id"])
    await store.revoke("admin", made["key_id"])

    trail = await audit.newest(f"key:{made['key_id']}", 100)

    assert ["key.revoke", "key.reset_limits", "key.rotate", "key.change", "key.create"] == [
        one["action"] for one in trail
    ]
    assert {"plan": "pro"} == trail[3]["detail"]
