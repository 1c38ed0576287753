"""Kept responses: for whom, for how long, and what is done when that fails."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.chassis import errors
from services.chassis.config import Secrets
from services.gateway import postgres
from services.gateway.cipher import Cipher, UnreadableError
from services.gateway.conversations import store as stores
from services.gateway.conversations.store import PURPOSE, Kept, ResponseStore
from services.gateway.keys.permissions import Caller
from services.gateway.ledger.retention import Retention
from tests.gateway.money import caller

SECRET = Secrets("a secret of thirty-two characters")
OTHER = Secrets("another secret of the same length")


def kept(ident: str = "resp_1", text: str = "hello") -> Kept:
    return Kept({"id": ident, "output": []}, [{"role": "user", "content": text}])


def of(user: str) -> Caller:
    return Caller(key_id="k", plan=caller().plan, user_id=user, tenant=f"user:{user}")


def test_what_is_sealed_is_read_by_its_key_at_its_place_only() -> None:
    sealed = Cipher(SECRET, PURPOSE).seal(b"canary" * 100, "ann")

    assert b"canary" not in sealed
    assert len(sealed) < 100
    assert b"canary" * 100 == Cipher(SECRET, PURPOSE).open(sealed, "ann")
    assert sealed != Cipher(SECRET, PURPOSE).seal(b"canary" * 100, "ann")
    for cipher, place, text in (
        (Cipher(OTHER, PURPOSE), "ann", sealed),
        (Cipher(SECRET, b"another purpose"), "ann", sealed),
        (Cipher(SECRET, PURPOSE), "bob", sealed),
        (Cipher(SECRET, PURPOSE), "ann", sealed[:-1] + bytes([sealed[-1] ^ 1])),
        (Cipher(SECRET, PURPOSE), "ann", b""),
    ):
        with pytest.raises(UnreadableError):
            cipher.open(text, place)


def test_what_was_sealed_before_the_secret_changed_is_read_as_long_as_the_old_one_is_named() -> None:
    both = Cipher(Secrets(f"{OTHER.reveal()},{SECRET.reveal()}"), PURPOSE)

    assert b"before" == both.open(Cipher(SECRET, PURPOSE).seal(b"before", "ann"), "ann")
    assert b"after" == Cipher(OTHER, PURPOSE).open(both.seal(b"after", "ann"), "ann")


async def test_only_its_caller_reads_and_deletes_a_response(pool: postgres.Pool) -> None:
    store = ResponseStore(pool, Cipher(SECRET, PURPOSE), 30)
    large = kept(text="x" * stores.AT_ONCE * 20)
    assert await store.keep(of("ann"), large)

    found = await store.read(of("ann"), "resp_1", "response_id")
    assert large == found
    assert found.size > stores.AT_ONCE * 20
    for other in (of("bob"), Caller(key_id="k", plan=caller().plan, user_id="ann", tenant="organization:o")):
        with pytest.raises(errors.NotFound):
            await store.read(other, "resp_1", "response_id")
        with pytest.raises(errors.NotFound):
            await store.delete(other, "resp_1", "response_id")
    await store.delete(of("ann"), "resp_1", "response_id")
    with pytest.raises(errors.NotFound):
        await store.read(of("ann"), "resp_1", "response_id")


async def test_a_response_expires_and_is_pruned(pool: postgres.Pool) -> None:
    store = ResponseStore(pool, Cipher(SECRET, PURPOSE), 1)
    for i in range(3):
        await store.keep(of("ann"), kept(f"resp_{i}"))
    await pool.execute(
        "UPDATE responses SET expires_at = now() - interval '1 s' WHERE response_id <> 'resp_0'"
    )
    with pytest.raises(errors.NotFound):
        await store.read(of("ann"), "resp_1", "response_id")
    soon = datetime.now(UTC) + timedelta(hours=23)

    assert [1, 1, 0] == [await Retention(pool).prune_expired(soon, batch=1) for _ in range(3)]
    assert ["resp_0"] == [row["response_id"] for row in await pool.fetch("SELECT response_id FROM responses")]


async def test_under_another_key_a_response_is_gone(pool: postgres.Pool) -> None:
    await ResponseStore(pool, Cipher(SECRET, PURPOSE), 30).keep(of("ann"), kept())

    with pytest.raises(errors.NotFound):
        await ResponseStore(pool, Cipher(OTHER, PURPOSE), 30).read(of("ann"), "resp_1", "response_id")


async def test_what_cannot_be_kept_is_said(pool: postgres.Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    store: Any = ResponseStore(pool, Cipher(SECRET, PURPOSE), 30)
    monkeypatch.setattr(stores, "MOST", 10)
    assert not await store.keep(of("ann"), kept())

    monkeypatch.undo()
    async with postgres.pool("postgresql://nobody@127.0.0.1:1/none", timeout_s=0.2) as away:
        gone = ResponseStore(away, Cipher(SECRET, PURPOSE), 30)
        assert not await gone.keep(of("ann"), kept())
        with pytest.raises(errors.Unavailable):
            await gone.read(of("ann"), "resp_1", "response_id")
        with pytest.raises(errors.Unavailable):
            await gone.delete(of("ann"), "resp_1", "response_id")
