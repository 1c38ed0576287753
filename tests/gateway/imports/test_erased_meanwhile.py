"""Users who are erased while an import is under way, which began before."""

import asyncio
from collections.abc import AsyncIterator, Set

import pytest

from services.chassis import redis
from services.chassis.config import Secrets
from services.gateway import postgres
from services.gateway.imports import run
from services.gateway.imports.records import Key, Record, User
from services.gateway.imports.run import Importer, Order, RefusedError
from services.gateway.keys.database import KeyDatabase
from services.gateway.keys.digests import Digests
from services.gateway.keys.erasure import PersonalData
from tests.gateway.authentication import PEPPER

ORDER = Order(source="a test", plan="free")
OF_USER = """
SELECT (SELECT count(*) FROM users WHERE user_id = $1) + (SELECT count(*) FROM virtual_keys WHERE user_id = $1)
"""
# How often it is looked whether an erasure waits for the import, and the pause between, in seconds.
LOOKS, PAUSE_S = 500, 0.02


@pytest.fixture
def importer(pool: postgres.Pool, client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> Importer:
    """Writes each record at once."""
    monkeypatch.setattr(run, "BATCH", 1)
    return Importer(pool, client, Digests(PEPPER, Secrets("")))


@pytest.fixture
def personal(pool: postgres.Pool, client: redis.Redis) -> PersonalData:
    return PersonalData(KeyDatabase(pool, client))


async def ann_and_bob() -> AsyncIterator[Record]:
    for name in ("ann", "bob"):
        yield User(name)
        yield Key(ref=f"key of {name}", secret=f"sk-{name}-0123456789", user_id=name)


async def test_what_was_written_of_them_before_is_not_kept_and_the_next_import_leaves_them_out(
    importer: Importer, personal: PersonalData, pool: postgres.Pool
) -> None:
    async def records() -> AsyncIterator[Record]:
        async for record in ann_and_bob():
            yield record
        await personal.erase("admin", "ann")

    with pytest.raises(RefusedError, match="1 of the users were erased meanwhile: import again"):
        await importer.run(records(), ORDER)
    assert [0, 0] == [await pool.fetchval(OF_USER, name) for name in ("ann", "bob")]

    await importer.run(ann_and_bob(), ORDER)
    assert [0, 2] == [await pool.fetchval(OF_USER, name) for name in ("ann", "bob")]


async def test_an_erasure_that_comes_at_the_end_waits_and_finds_what_was_imported(
    importer: Importer, personal: PersonalData, pool: postgres.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    erasing: list[asyncio.Task[str]] = []
    refuse = run._refuse_erased

    async def looked_and_overtaken(connection: postgres.Connection, known: Set[str]) -> None:
        await refuse(connection, known)
        erasing.append(asyncio.create_task(personal.erase("admin", "ann")))
        for _ in range(LOOKS):
            if await pool.fetchval(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            ):
                return
            await asyncio.sleep(PAUSE_S)
        raise AssertionError("the erasure does not wait")

    monkeypatch.setattr(run, "_refuse_erased", looked_and_overtaken)
    await importer.run(ann_and_bob(), ORDER)
    await asyncio.gather(*erasing)

    assert [0, 2] == [await pool.fetchval(OF_USER, name) for name in ("ann", "bob")]
