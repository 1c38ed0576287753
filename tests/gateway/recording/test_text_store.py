"""Prompts and answers in PostgreSQL: of whom, for how long, and what is done when it cannot take them."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from services.chassis.config import Mistakes, Secrets, from_environ
from services.gateway import postgres
from services.gateway.cipher import Cipher
from services.gateway.ledger.retention import Retention
from services.gateway.recording import text_store
from services.gateway.recording.delivery import DROPPED, MOST_WAITING
from services.gateway.recording.record import LONGEST, Content, Record
from services.gateway.recording.settings import Settings
from services.gateway.recording.text_store import PURPOSE, TextStore
from tests.gateway.conftest import eventually

SECRET = "a secret of thirty-two characters"
TYPED = "sk-typed-0123456789abcdef"


def record(ident: str, text: str = "hello", *, user: str = "ann", may_keep_texts: bool = True) -> Record:
    body = json.dumps({"messages": [{"role": "user", "content": text}]}).encode()
    one = Record(
        {"request_id": ident, "model": "m", "user_id": user},
        body,
        stream=False,
        may_keep_texts=may_keep_texts,
    )
    one.add(json.dumps({"choices": []}))
    one.end()
    return one


def store(pool: postgres.Pool, secret: str = SECRET, days: int = 30) -> TextStore:
    return TextStore(pool, Cipher(Secrets(secret), PURPOSE), days, Content.REDACTED)


async def kept(pool: postgres.Pool) -> list[str]:
    rows = await pool.fetch("SELECT request_id FROM request_texts ORDER BY request_id")
    return [row["request_id"] for row in rows]


async def test_what_is_kept_is_redacted_encrypted_and_read_by_its_key_alone(pool: postgres.Pool) -> None:
    one = store(pool)
    async with one.delivering():
        one.add(record("r1", f"hello, my key is {TYPED}"))

    sealed = await pool.fetchval("SELECT sealed FROM request_texts")
    assert b"hello" not in sealed
    said = {"messages": [{"role": "user", "content": "hello, my key is [redacted]"}]}
    assert {"request": said, "response": {"choices": []}, "cut": []} == await one.read("r1")
    assert await store(pool, "another secret of the same length").read("r1") is None
    # A row that is moved to another request is nobody's.
    await pool.execute("UPDATE request_texts SET request_id = 'r2'")
    assert await one.read("r2") is None


async def test_what_a_plan_or_key_does_not_let_be_kept_is_in_no_record(pool: postgres.Pool) -> None:
    one = store(pool)
    private = record("private", may_keep_texts=False)
    async with one.delivering():
        one.add(private)
        one.add(record("open"))

    assert ["open"] == await kept(pool)
    assert {"request": None, "response": None} == private.sides(Content.FULL)


async def test_texts_of_an_erased_user_are_not_kept_after_the_erasure(pool: postgres.Pool) -> None:
    late = record("late")
    await pool.execute("INSERT INTO erasures (user_id, stranger) VALUES ('ann', 'erased-1')")
    one = store(pool)
    async with one.delivering():
        one.add(late)
        # Somebody else of that name, later, and somebody who was not erased.
        one.add(record("new"))
        one.add(record("other", user="bob"))

    assert ["new", "other"] == await kept(pool)


async def test_texts_are_deleted_when_their_days_are_over(pool: postgres.Pool) -> None:
    one = store(pool, days=7)
    async with one.delivering():
        one.add(record("r1"))

    now = datetime.now(UTC)
    assert 0 == await Retention(pool).prune_expired(now + timedelta(days=6))
    assert 1 == await Retention(pool).prune_expired(now + timedelta(days=8))
    assert await one.read("r1") is None


async def test_while_postgresql_is_locked_memory_is_bounded_and_then_all_that_waits_is_kept(
    pool: postgres.Pool, caplog: pytest.LogCaptureFixture
) -> None:
    one = store(pool)
    large = record("large", "x" * (LONGEST // 2))
    fit = MOST_WAITING // large.size
    before = DROPPED.labels("database")._value.get()
    async with one.delivering():
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute("LOCK TABLE request_texts IN ACCESS EXCLUSIVE MODE")
            for number in range(fit + 7):
                one.add(record(f"r{number:03}", "x" * (LONGEST // 2)))
            assert 7 == DROPPED.labels("database")._value.get() - before
            # None of them has waited for PostgreSQL, which has refused nothing yet.
            assert "cannot be kept" not in caplog.text

            async def noticed() -> bool:
                return "cannot be kept" in caplog.text

            await eventually(noticed)

        async def all_kept() -> bool:
            return [f"r{number:03}" for number in range(fit)] == await kept(pool)

        await eventually(all_kept)
    assert 1 == sum("cannot be kept" in one.message for one in caplog.records)


async def test_a_batch_that_takes_too_long_again_and_again_is_given_up_and_counted(
    database: str, pool: postgres.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_store, "RETRY_S", 0.01)
    before = DROPPED.labels("database")._value.get()
    async with postgres.pool(database, timeout_s=0.1) as impatient:
        one = store(impatient)
        async with one.delivering():
            async with pool.acquire() as connection, connection.transaction():
                await connection.execute("LOCK TABLE request_texts IN ACCESS EXCLUSIVE MODE")
                one.add(record("slow"))

                async def given_up() -> bool:
                    return bool(DROPPED.labels("database")._value.get() - before == 1)

                await eventually(given_up)
            one.add(record("next"))

    assert ["next"] == await kept(pool)


@pytest.mark.parametrize(
    ("name", "value"),
    [("LUMNI_PROMPTS_KEY", "short"), ("LUMNI_PROMPTS_DAYS", "0"), ("LUMNI_PROMPTS_CONTENT", "none")],
)
def test_settings_that_mean_nothing_are_refused(name: str, value: str) -> None:
    with pytest.raises(Mistakes, match=f"{name}: expected"):
        from_environ(Settings, {name: value})
