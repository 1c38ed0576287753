"""A request that finds an answer in the cache is counted in the same step."""

from collections.abc import AsyncIterator

import pytest

from services.chassis import errors, redis, redis_keys
from services.gateway import postgres
from services.gateway.cache.answer_key import AnswerKey
from services.gateway.cache.store import AnswerStore, Kept
from services.gateway.config.plans import Rate
from services.gateway.keys.permissions import Caller
from services.gateway.limits.admission import Admission, Limits
from tests.gateway.cache.caches import storing
from tests.gateway.conftest import eventually
from tests.gateway.money import TOTAL, caller

KEY, MISSING = AnswerKey(f"{1:040x}", "aa"), AnswerKey(f"{2:040x}", "aa")


@pytest.fixture
async def store(client: redis.Redis) -> AsyncIterator[AnswerStore]:
    """Answers, with one that is kept."""
    async with storing(client) as one:
        one.finish(KEY, "", Kept(b"answer", 60, 2**45))

        async def kept() -> bool:
            looked = await one.look_up(KEY, "")
            return looked is not None and looked.text is not None

        await eventually(kept)
        yield one


async def hit(store: AnswerStore, limits: Limits, who: Caller, ident: str) -> Admission:
    """What a hit's request is admitted as; Redis was asked once, and counted it."""
    looked = await store.look_up(KEY, "", limits.count(who, ident))
    assert looked is not None
    assert looked.text
    assert looked.counted
    return await limits.counted(who, ident, looked.counted)


async def requests(client: redis.Redis) -> int:
    """How many requests of the key were counted."""
    return int(await client.hget(redis_keys.rate("key:k1"), "requests") or 0)


async def test_a_hit_counts_once_and_is_refused_like_any_request(
    store: AnswerStore, limits: Limits, client: redis.Redis
) -> None:
    who = caller(rate=Rate(rpm=2, parallel=1), budget=TOTAL)

    first, second = [await hit(store, limits, who, ident) for ident in ("r1", "r2")]

    assert ["1", "0"] == [one.headers["x-ratelimit-remaining-requests"] for one in (first, second)]
    assert first.admitted_unix_ms
    # Nothing is held that would have to be given back.
    assert not await client.exists(redis_keys.reservation("r1"), redis_keys.reservations())
    with pytest.raises(errors.Exhausted) as caught:
        await hit(store, limits, who, "r3")
    assert "requests" == caught.value.metadata["limit"]
    assert 2 == await requests(client)
    # What Redis is sure to refuse is not sent along.
    assert limits.count(who, "r4") is None
    with pytest.raises(errors.Exhausted):
        await limits.counted(who, "r4")


async def test_what_is_not_found_is_not_counted(
    store: AnswerStore, limits: Limits, client: redis.Redis
) -> None:
    who = caller(rate=Rate(rpm=2))

    looked = await store.look_up(MISSING, "r1", limits.count(who, "r1"))

    assert looked is not None
    assert looked.leads
    assert 0 == await requests(client)


async def test_an_answer_is_found_where_redis_takes_no_writes(
    store: AnswerStore, limits: Limits, client: redis.Redis
) -> None:
    who = caller(rate=Rate(rpm=2))
    await client.config_set("maxmemory", 1)
    try:
        looked = await store.look_up(KEY, "", limits.count(who, "r1"))
    finally:
        await client.config_set("maxmemory", 0)

    assert looked is not None
    assert looked.text
    # It is counted by itself, which finds out what this process is to do.
    assert b"" == looked.counted
    assert (await limits.counted(who, "r1")).admitted_unix_ms


async def test_in_a_cluster_it_is_counted_where_its_partition_lies(
    client: redis.Redis, pool: postgres.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis, "is_cluster", lambda _: True)
    limits = Limits(client, pool)
    who = caller(rate=Rate(rpm=2))

    assert limits.count(who, "r1") is None
    assert "1" == (await limits.counted(who, "r1")).headers["x-ratelimit-remaining-requests"]
