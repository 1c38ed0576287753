"""What replicas learn from each other, through a real Valkey."""

from collections import Counter

import pytest
import redis.asyncio

from services.chassis import redis as chassis_redis
from services.chassis import redis_keys
from services.selector.live.powerful_share import PowerfulShares
from services.selector.live.recent_usage import RecentUsage
from services.selector.live.replica_sync import MOST_TENANTS, ReplicaSync

NOW = 100_000.0


async def test_of_many_busy_tenants_none_is_passed_over_for_ever(valkey: str) -> None:
    recent = RecentUsage(3600, spreads=True)
    sync = ReplicaSync(recent, PowerfulShares())
    busy = [f"tenant {number}" for number in range(MOST_TENANTS + 200)]
    client = chassis_redis.connect(valkey, timeout_s=5)
    try:
        for second in range(3):
            for tenant in busy:
                recent.observe(tenant, "one", NOW + second)
            await sync.exchange(client, NOW + second)
        missing = [tenant for tenant in busy if not recent.tenants[tenant].published]
        assert not missing
    finally:
        await client.aclose()


async def test_what_was_added_only_in_part_is_not_counted_twice(valkey: str) -> None:
    recent, powerful_shares = RecentUsage(3600, spreads=True), PowerfulShares()
    sync = ReplicaSync(recent, powerful_shares)
    for _ in range(7):
        recent.observe("tenant", "one", NOW)
        powerful_shares.observe("plan", "v1", 0.5, NOW)
    async with redis.asyncio.Redis.from_url(valkey) as admin:
        for refused in ("expire", "hgetall"):
            await admin.execute_command(
                *f"ACL SETUSER half reset on >half ~* +@all -{refused}".split()  # type: ignore[no-untyped-call]
            )
            client = chassis_redis.connect(f"redis://half:half@{valkey.rpartition('@')[2]}", timeout_s=5)
            for _ in range(3):
                with pytest.raises(redis.exceptions.RedisError, match="no permissions"):
                    await sync.exchange(client, NOW)
            await client.aclose()
        client = chassis_redis.connect(valkey, timeout_s=5)
        await sync.exchange(client, NOW)
        await client.aclose()
        counted = await admin.hgetall(redis_keys.recent("tenant", recent.bucket(NOW)))
        assert {b"one": b"7"} == counted
    assert Counter(one=7) == recent.tenants["tenant"].published
    assert 7 == powerful_shares.histograms["plan", "v1"].counts(NOW).sum()
    assert not recent.tenants["tenant"].unpublished


async def test_replicas_learn_the_rates_of_each_version_of_the_weights_from_each_other(valkey: str) -> None:
    one, other = PowerfulShares(), PowerfulShares()
    for _ in range(600):
        one.observe("plan", "v1", 0.2, NOW)
        one.observe("plan", "refitted", 0.8, NOW)
    for version in ("v1", "refitted"):
        other.threshold("plan", version, 0.3, NOW)
    client = chassis_redis.connect(valkey, timeout_s=5)
    try:
        for powerful_shares in (one, other):
            await ReplicaSync(RecentUsage(3600, spreads=True), powerful_shares).exchange(client, NOW)
    finally:
        await client.aclose()
    assert 0.2 == pytest.approx(other.threshold("plan", "v1", 0.3, NOW + 1).rate, abs=0.01)
    assert 0.8 == pytest.approx(other.threshold("plan", "refitted", 0.3, NOW + 1).rate, abs=0.01)
