"""Limits while Redis is gone, and when it comes back."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import prometheus_client
import pytest

from services.chassis import errors, redis
from services.gateway import postgres
from services.gateway.config.plans import Plan, Rate, WithoutRedis
from services.gateway.limits.admission import Limits
from services.local.valkey import Valkey
from tests.gateway.conftest import eventually
from tests.gateway.money import (
    TOTAL,
    a_whole_minute,
    admit,
    bill,
    caller,
    spent,
)


def counted_in_redis() -> bool:
    """What the metric says."""
    return prometheus_client.REGISTRY.get_sample_value("lumni_gateway_limiter_redis") == 1


async def test_without_redis_an_allowing_plan_counts_locally(
    make_valkey: Callable[[], Valkey], pool: postgres.Pool
) -> None:
    server = make_valkey()
    await server.start()
    who = caller(rate=Rate(rpm=3), budget=TOTAL)
    async with redis.connect(server.url, timeout_s=1) as client:
        async with (limits := Limits(client, pool, billable_attempts=1)).delivering():
            await server.stop()
            await a_whole_minute()

            answers = [await admit(limits, who) for _ in range(3)]
            with pytest.raises(errors.Exhausted):
                await admit(limits, who)
            assert not counted_in_redis()

    assert {0} == {answer.admitted_unix_ms for answer in answers}


async def test_without_redis_a_denying_plan_denies(
    make_valkey: Callable[[], Valkey], pool: postgres.Pool
) -> None:
    server = make_valkey()
    await server.start()
    async with redis.connect(server.url, timeout_s=1) as client:
        async with (limits := Limits(client, pool)).delivering():
            await server.stop()

            with pytest.raises(errors.Unavailable) as caught:
                await admit(limits, caller(plan=Plan("test", redis_down=WithoutRedis.DENY)))

    assert 1 == caught.value.retry_after_s


async def test_a_frozen_redis_costs_one_deadline_and_not_one_for_each_request(
    make_valkey: Callable[[], Valkey], pool: postgres.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = make_valkey()
    await server.start()
    async with redis.connect(server.url, timeout_s=1) as client:
        limits = Limits(client, pool, billable_attempts=1)
        async with limits.delivering():
            admission = await admit(limits, caller(budget=TOTAL))
            server.pause()
            decide, asked = limits._decide, []

            async def counted(part: str, argument: dict[str, Any]) -> dict[str, Any]:
                asked.append(part)
                return await decide(part, argument)

            monkeypatch.setattr(limits, "_decide", counted)
            for _ in range(200):
                await admit(limits, caller(budget=TOTAL))
            # Only the first caller asked it, and waited for one deadline.
            assert 1 == len(asked)
            limits.settle(admission, bill(admission, 400))
            server.resume()

            async def settled() -> bool:
                try:
                    return 400 == await spent(client, "key:k1") and counted_in_redis()
                except redis.ERRORS:
                    return False

            await eventually(settled)


async def test_limits_are_counted_in_redis_again_by_themselves_when_it_returns(
    make_valkey: Callable[[], Valkey], pool: postgres.Pool
) -> None:
    server = make_valkey()
    await server.start()
    who = caller(rate=Rate(rpm=1000))
    async with (
        redis.connect(server.url, timeout_s=1) as client,
        (limits := Limits(client, pool)).delivering(),
    ):
        server.pause()
        assert 0 == (await admit(limits, who)).admitted_unix_ms
        server.resume()

        async def counted() -> bool:
            return (await admit(limits, who)).admitted_unix_ms > 0

        await eventually(counted)


async def test_every_way_of_failing_opens_the_breaker(
    make_valkey: Callable[[], Valkey], pool: postgres.Pool
) -> None:
    server = make_valkey()
    await server.start()
    async with redis.connect(server.url, timeout_s=1) as client:
        async with (limits := Limits(client, pool, billable_attempts=1)).delivering():
            admission = await admit(limits, caller(rate=Rate(rpm=100)))
            # It answers, but takes no more writes.
            await client.config_set("maxmemory", 1)
            assert 0 == (await admit(limits, caller(rate=Rate(rpm=100)))).admitted_unix_ms
            assert not counted_in_redis()
            await client.config_set("maxmemory", 0)

            async def up() -> bool:
                return counted_in_redis()

            async def down() -> bool:
                return not counted_in_redis()

            await eventually(up)
            # No request comes, and a settlement alone finds out.
            await server.stop()
            limits.settle(admission, bill(admission, 1))
            await eventually(down)


async def test_an_outage_is_logged_once_and_not_for_every_request(
    make_valkey: Callable[[], Valkey], pool: postgres.Pool, caplog: pytest.LogCaptureFixture
) -> None:
    server = make_valkey()
    await server.start()
    who = caller(rate=Rate(rpm=1_000_000), budget=TOTAL)
    async with redis.connect(server.url, timeout_s=1) as client:
        async with (limits := Limits(client, pool, billable_attempts=1)).delivering():
            settled = await admit(limits, who)
            await server.stop()
            until = time.monotonic() + 1.5
            with caplog.at_level(logging.INFO):
                # Several probes, a settlement that is tried again and again, and a crowd.
                while time.monotonic() < until:
                    limits.settle(settled, bill(settled, 1))
                    await asyncio.gather(*(admit(limits, who) for _ in range(20)))
                    await asyncio.sleep(0.01)
                await server.start()

                async def up() -> bool:
                    return counted_in_redis()

                await eventually(up)

    logged = [one.message for one in caplog.records if one.name.startswith("services.gateway")]
    assert ["Redis cannot count,", "limits are counted"] == [" ".join(one.split()[:3]) for one in logged]


async def test_a_settlement_waits_while_a_primary_lacks_the_replicas_that_it_must_have(
    limits: Limits, client: redis.Redis
) -> None:
    admission = await admit(limits, caller(budget=TOTAL))
    await client.config_set("min-replicas-to-write", 1)
    try:
        limits.settle(admission, bill(admission, 400))

        async def refused() -> bool:
            return not counted_in_redis()

        await eventually(refused)
        assert 0 == await spent(client, "key:k1")
    finally:
        await client.config_set("min-replicas-to-write", 0)

    async def settled() -> bool:
        return 400 == await spent(client, "key:k1")

    await eventually(settled, within_s=20)
