"""What replicas tell each other, through a real Valkey."""

from collections import Counter

import pytest
import redis.asyncio

from services.chassis import names
from services.chassis import redis as chassis_redis
from services.selector.recent import Recent
from services.selector.shared import MOST_TENANTS, Shared
from services.selector.split import Splits

NOW = 100_000.0


async def test_of_many_busy_tenants_none_is_passed_over_for_ever(valkey: str) -> None:
    recent = Recent(3600, spreads=True)
    shared = Shared(recent, Splits())
    busy = [f"tenant {number}" for number in range(MOST_TENANTS + 200)]
    client = chassis_redis.connect(valkey, timeout_s=5)
    try:
        for second in range(3):
            for tenant in busy:
                recent.observe(tenant, "one", NOW + second)
            await shared.exchange(client, NOW + second)
        untold = [tenant for tenant in busy if not recent.tenants[tenant].shared]
        assert not untold
    finally:
        await client.aclose()


async def test_what_was_told_only_in_part_is_not_counted_twice(valkey: str) -> None:
    recent, splits = Recent(3600, spreads=True), Splits()
    shared = Shared(recent, splits)
    for _ in range(7):
        recent.observe("tenant", "one", NOW)
        splits.observe("plan", 0.5, NOW)
    async with redis.asyncio.Redis.from_url(valkey) as admin:
        for refused in ("expire", "hgetall"):
            await admin.execute_command(
                *f"ACL SETUSER half reset on >half ~* +@all -{refused}".split()  # type: ignore[no-untyped-call]
            )
            client = chassis_redis.connect(f"redis://half:half@{valkey.rpartition('@')[2]}", timeout_s=5)
            for _ in range(3):
                with pytest.raises(redis.exceptions.RedisError, match="no permissions"):
                    await shared.exchange(client, NOW)
            await client.aclose()
        client = chassis_redis.connect(valkey, timeout_s=5)
        await shared.exchange(client, NOW)
        await client.aclose()
        counted = await admin.hgetall(names.recent("tenant", recent.bucket(NOW)))
        assert {b"one": b"7"} == counted
    assert Counter(one=7) == recent.tenants["tenant"].shared
    assert 7 == splits.by_plan["plan"].counts(NOW).sum()
    assert not recent.tenants["tenant"].own
