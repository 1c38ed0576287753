"""Cached answers in Redis: their bounds, their end, and who makes them."""

import asyncio
import os

import pytest

from services.chassis import errors, redis, redis_keys
from services.gateway.cache import store as stores
from services.gateway.cache.answer_key import AnswerKey
from services.gateway.cache.semantic.same_question import read
from services.gateway.cache.store import AnswerStore, Bounds, Kept, Looked, Question
from tests.gateway.cache.caches import storing
from tests.gateway.conftest import eventually


def key(number: int = 1, tenant: str = "aa") -> AnswerKey:
    return AnswerKey(f"{number:040x}", tenant)


def kept(text: bytes = b"answer", ttl_s: int = 60, admitted_unix_ms: int = 2**45) -> Kept:
    return Kept(text, ttl_s, admitted_unix_ms)


async def found(store: AnswerStore, wanted: AnswerKey) -> bytes | None:
    looked = await store.look_up(wanted, "")
    assert looked is not None
    return None if looked.text is None else await store.read(wanted, looked.text)


async def keep(store: AnswerStore, wanted: AnswerKey, text: bytes = b"answer", ttl_s: int = 60) -> None:
    """Keep an answer, and wait until it is there."""
    store.finish(wanted, "", kept(text, ttl_s))

    async def is_there() -> bool:
        return await found(store, wanted) == text

    await eventually(is_there)


async def held(client: redis.Redis) -> dict[str, int]:
    return {redis.text(k): int(v) for k, v in (await client.hgetall(redis_keys.CACHE_HELD)).items()}


async def test_an_answer_is_found_by_its_key_and_is_no_plain_text(client: redis.Redis) -> None:
    async with storing(client) as store:
        assert await found(store, key()) is None
        await keep(store, key(), b"canary")
        assert await found(store, key(2)) is None

    raw = await client.get(redis_keys.CACHED_ANSWER + key().digest)
    assert isinstance(raw, bytes)
    assert b"canary" not in raw
    assert 0 < await client.pttl(redis_keys.CACHED_ANSWER + key().digest) <= 60_000


async def test_one_request_makes_an_answer_until_it_ends(client: redis.Redis) -> None:
    async with storing(client) as one, storing(client) as other:
        assert Looked(leads=True) == await one.look_up(key(), "r1")
        assert Looked(leader="r1") == await other.look_up(key(), "r2")
        # The same request, whose first answer got lost.
        assert Looked(leads=True) == await one.look_up(key(), "r1")
        one.finish(key(), "r1")

        async def leads() -> bool:
            looked = await other.look_up(key(), "r2")
            return looked is not None and looked.leads

        await eventually(leads)
        # A late end of another request changes nothing.
        one.finish(key(), "r1")
        one.finish(key(3), "", kept())

        async def told() -> bool:
            return await found(one, key(3)) is not None

        await eventually(told)
        assert Looked(leader="r2") == await one.look_up(key(), "r3")


async def test_the_lead_is_renewed_while_it_is_held_and_given_up_with_its_process(
    client: redis.Redis,
) -> None:
    flight = redis_keys.CACHE_FLIGHT + key().digest
    async with storing(client) as store:
        await store.look_up(key(), "r1")
        await client.pexpire(flight, 4000)

        async def renewed() -> bool:
            return bool(await client.pttl(flight) > 4000)

        await eventually(renewed)
    await client.pexpire(flight, 1)
    async with storing(client) as other:

        async def leads() -> bool:
            looked = await other.look_up(key(), "r2")
            return looked is not None and looked.leads

        await eventually(leads)


async def test_what_expires_soonest_makes_room_within_a_tenant_and_in_all(client: redis.Redis) -> None:
    # Random, so that zlib leaves it as it is.
    text = os.urandom(1000)
    async with storing(client, Bounds(answer=4096, tenant=5500, total=8000, request_s=60)) as store:
        for number, ttl_s in ((1, 50), (2, 40), (3, 60), (4, 60)):
            await keep(store, key(number), text, ttl_s)
        there = [await found(store, key(number)) is not None for number in (1, 2, 3, 4)]
        assert [True, False, True, True] == there
        assert (await held(client))["aa"] <= 5500

        for number in (11, 12, 13):
            await keep(store, key(number, "bb"), text, 60)
        assert await found(store, key(1)) is None
        sums = await held(client)
    assert sums["all"] <= 8000
    assert sums["all"] == sums["aa"] + sums["bb"]
    sizes = [int(size) for size in await client.hvals(redis_keys.CACHE_SIZES)]
    assert sums["all"] == sum(sizes)


async def test_an_answer_in_anothers_place_and_an_expired_one_are_counted_once(client: redis.Redis) -> None:
    async with storing(client) as store:
        await keep(store, key(1), b"first")
        await keep(store, key(1), b"second")
        assert 1 == await client.zcard(redis_keys.CACHE_EXPIRING)
        await keep(store, key(2), b"short", ttl_s=1)

        async def expired() -> bool:
            return await found(store, key(2)) is None

        await eventually(expired)
        await keep(store, key(3), b"third")
    sizes = {redis.text(name) for name in await client.hkeys(redis_keys.CACHE_SIZES)}
    assert {f"aa/{key(1).digest}", f"aa/{key(3).digest}"} == sizes


async def test_an_answer_that_is_too_long_is_not_kept_and_another_may_make_it(client: redis.Redis) -> None:
    text = os.urandom(500)
    async with storing(client, Bounds(answer=100, tenant=5000, total=8000, request_s=60)) as store:
        await store.look_up(key(), "r1")
        store.finish(key(), "r1", kept(text))

        async def leads() -> bool:
            looked = await store.look_up(key(), "r2")
            return looked is not None and looked.leads

        await eventually(leads)
    assert {} == await held(client)


@pytest.mark.parametrize("tenant", ["aa", None])
async def test_a_purge_forgets_a_tenants_answers_or_all_and_those_being_made(
    client: redis.Redis, tenant: str | None
) -> None:
    async with storing(client) as store:
        await keep(store, key(1))
        await keep(store, key(2, "bb"))
        seconds, _ = await client.time()
        before = int(seconds) * 1000 - 1000

        assert (1 if tenant else 2) == await store.purge(tenant)
        assert await found(store, key(1)) is None
        assert (tenant is not None) == (await found(store, key(2, "bb")) is not None)

        # Both were asked for before the purge; the second one's tenant was not purged, or all were.
        store.finish(key(3), "", kept(admitted_unix_ms=before))
        store.finish(key(4, "bb"), "", kept(admitted_unix_ms=before))
        await keep(store, key(5))
        assert await found(store, key(3)) is None
        assert (tenant is not None) == (await found(store, key(4, "bb")) is not None)


async def test_without_redis_there_is_no_cache_and_nothing_fails(valkey: str) -> None:
    async with redis.connect("redis://127.0.0.1:1/0", timeout_s=0.1) as gone, storing(gone) as store:
        assert await store.look_up(key(), "r1") is None
        store.finish(key(), "r1", kept())
        with pytest.raises(errors.Unavailable, match="cannot be purged"):
            await store.purge(None)


async def test_who_leaves_while_redis_is_asked_gives_the_lead_up(client: redis.Redis) -> None:
    async with storing(client) as store:
        leaving = asyncio.create_task(store.look_up(key(), "r1"))
        await asyncio.sleep(0)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving

        async def leads() -> bool:
            looked = await store.look_up(key(), "r2")
            return looked is not None and looked.leads

        await eventually(leads)


ABOUT = bytes(range(32))


def question(text: str = "canary?", partition: str = "0" * 40) -> Question:
    return Question(partition, ABOUT, text, read(text))


async def keep_question(store: AnswerStore, wanted: AnswerKey, asked: Question, ttl_s: int = 60) -> None:
    """Keep an answer with its question, and wait until it is there."""
    store.finish(wanted, "", Kept(b"answer", ttl_s, 2**45, asked))

    async def is_there() -> bool:
        return wanted.digest in [one.digest for one in await store.questions(asked.partition)]

    await eventually(is_there)


async def test_a_question_is_listed_encrypted_until_its_answer_ends(client: redis.Redis) -> None:
    async with storing(client) as store:
        await keep(store, key(1))
        alone = (await held(client))["all"]
        await keep_question(store, key(1), question())
        [listed] = await store.questions("0" * 40)
        assert ABOUT == listed.about
        assert ["canary?", None] == await store.texts("0" * 40, [listed.digest, key(2).digest])
        assert [] == await store.questions("1" * 40)
        assert (await held(client))["all"] > alone + len("canary?")
        for name, canary in (
            (redis_keys.CACHE_QUESTIONS, ABOUT),
            (redis_keys.CACHE_QUESTION_TEXTS, b"canary"),
        ):
            [sealed] = await client.hvals(name + "0" * 40)
            assert canary not in sealed
            assert 0 < await client.pttl(name + "0" * 40) <= 60_000

        await store.purge("aa")
        assert [] == await store.questions("0" * 40)
    assert not await client.exists(redis_keys.CACHE_QUESTION_TEXTS + "0" * 40)
    assert not await client.exists(redis_keys.CACHE_LISTED, redis_keys.CACHE_HELD, redis_keys.CACHE_SIZES)


async def test_a_question_of_another_answer_is_not_read(client: redis.Redis) -> None:
    async with storing(client) as store:
        await keep_question(store, key(1), question())
        for name in (redis_keys.CACHE_QUESTIONS, redis_keys.CACHE_QUESTION_TEXTS):
            [sealed] = await client.hvals(name + "0" * 40)
            await client.hset(name + "0" * 40, key(2).digest, sealed)
        assert [key(1).digest] == [one.digest for one in await store.questions("0" * 40)]
        assert [None] == await store.texts("0" * 40, [key(2).digest])


async def test_a_partition_has_so_many_questions_and_the_answer_to_one_more_stays(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "MOST_QUESTIONS", 2)
    async with storing(client) as store:
        for number, ttl_s in ((1, 60), (2, 30), (3, 60)):
            await keep_question(store, key(number), question(), ttl_s)
        listed = {one.digest for one in await store.questions("0" * 40)}
        assert {key(1).digest, key(3).digest} == listed
        assert [None] == await store.texts("0" * 40, [key(2).digest])
        assert await found(store, key(2)) == b"answer"
        sizes = {redis.text(k): int(v) for k, v in (await client.hgetall(redis_keys.CACHE_SIZES)).items()}
        assert sizes[f"aa/{key(2).digest}"] < sizes[f"aa/{key(1).digest}"]
        assert (await held(client))["all"] == sum(sizes.values())
        await store.purge("aa")
    assert {} == await held(client)


async def test_where_questions_are_refused_equal_requests_are_answered(client: redis.Redis) -> None:
    async with storing(client) as store:
        await keep(store, key(1))
        # As a server does whose user may not read them.
        await client.set(redis_keys.CACHE_QUESTIONS + "0" * 40, "of another type")
        assert [] == await store.questions("0" * 40)
        assert await found(store, key(1)) == b"answer"


async def test_without_redis_there_are_no_questions(valkey: str) -> None:
    async with redis.connect("redis://127.0.0.1:1/0", timeout_s=0.1) as gone, storing(gone) as store:
        assert [] == await store.questions("0" * 40)
