"""How much of a deployment may be used, counted alone and over all replicas."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from services.chassis import redis
from services.chassis.deployments import FreeQuota
from services.chassis.prices import Price, Row, rates_of
from services.executor.capacity.quotas import LocalQuotaCounter, Quota, QuotaCounter, quotas_of
from services.executor.capacity.redis_state import RedisGuard, RedisQuotaCounter
from tests.executor.fleet import deployment

RPM, TPM = Quota("rpm", 3), Quota("tpm", 100)


@pytest.fixture(params=["local", "shared"])
async def counter(request: pytest.FixtureRequest, valkey: str) -> AsyncIterator[QuotaCounter]:
    if request.param == "local":
        yield LocalQuotaCounter()
        return
    client = redis.connect(valkey, timeout_s=2)
    yield RedisQuotaCounter(RedisGuard(client))
    await client.aclose()


async def test_requests_beyond_a_quota_are_not_counted_until_its_window_ends(counter: QuotaCounter) -> None:
    takes = [await counter.take("d", [RPM], 10) for _ in range(5)]

    assert [take.exceeded for take in takes] == [None, None, None, RPM, RPM]
    assert [list(take.used) for take in takes] == [[1], [2], [3], [3], [3]]
    assert 0 < takes[-1].wait_s <= 60


async def test_tokens_are_counted_and_corrected(counter: QuotaCounter) -> None:
    assert (await counter.take("d", [RPM, TPM], 60)).exceeded is None
    assert (await counter.take("d", [RPM, TPM], 60)).exceeded == TPM
    await counter.add_tokens("d", [RPM, TPM], -50, time.time())

    take = await counter.take("d", [RPM, TPM], 60)

    assert (take.used, take.exceeded) == ([2, 70], None)


async def test_tokens_are_given_back_to_no_other_window_than_theirs(counter: QuotaCounter) -> None:
    assert (await counter.take("d", [RPM, TPM], 60)).exceeded is None
    await counter.add_tokens("d", [RPM, TPM], -1000, time.time() - 61)

    assert (await counter.take("d", [RPM, TPM], 60)).exceeded == TPM
    # What a long answer took is taken now, whenever it began.
    await counter.add_tokens("d", [RPM, TPM], 30, time.time() - 61)
    assert (await counter.take("d", [RPM, TPM], 11)).exceeded == TPM
    assert (await counter.take("d", [RPM, TPM], 10)).exceeded is None


async def test_what_would_exceed_a_quota_counts_against_none(counter: QuotaCounter) -> None:
    await counter.take("d", [RPM, TPM], 90)
    for _ in range(10):
        await counter.take("d", [RPM, TPM], 90)

    assert (await counter.take("d", [RPM, TPM], 1)).used == [2, 91]


async def test_a_request_larger_than_a_whole_window_passes_alone(counter: QuotaCounter) -> None:
    assert (await counter.take("d", [TPM], 5000)).exceeded is None
    assert (await counter.take("d", [TPM], 1)).exceeded == TPM


async def test_replicas_share_their_counts_exactly(valkey: str) -> None:
    clients = [redis.connect(valkey, timeout_s=60) for _ in range(3)]
    counters = [RedisQuotaCounter(RedisGuard(client)) for client in clients]
    minute, _ = Quota("rpm", 10).window(time.time())
    takes = await asyncio.gather(
        *(one.take("d", [Quota("rpm", 10)], 1) for one in counters for _ in range(20))
    )

    admitted = sum(take.exceeded is None for take in takes)
    # The minute may turn in between.
    assert admitted == 10 or (Quota("rpm", 10).window(time.time())[0] != minute and admitted <= 20)
    for client in clients:
        await client.aclose()


def test_a_day_begins_at_midnight_where_the_provider_says() -> None:
    moment = datetime(2026, 11, 21, 7, 30, tzinfo=UTC).timestamp()
    _, ends = Quota("rpd", 1, "America/Los_Angeles").window(moment)

    assert datetime.fromtimestamp(ends, UTC) == datetime(2026, 11, 21, 8, 0, tzinfo=UTC)


def test_the_stricter_of_two_quotas_holds() -> None:
    free = FreeQuota(rpm=20, rpd=50)
    quotas = quotas_of(deployment("http://x", rpm=5, tpm=1000, free_quota=free))

    assert {quota.name: quota.total for quota in quotas} == {"rpm": 5, "rpd": 50, "tpm": 1000}


def test_a_free_deployment_is_free() -> None:
    assert Price((Row("", 0, rates_of({})),)).free
