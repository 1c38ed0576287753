"""Where the counters of a caller lie: together with all that one script touches."""

from services.chassis import redis, redis_keys
from services.gateway.limits.partitions import Partitions


async def test_one_redis_has_one_partition() -> None:
    async with redis.connect("redis://127.0.0.1:1") as client:
        parts = Partitions(client)

    assert {redis_keys.MONEY} == {parts.of("k1", "u1", "o1"), parts.of("k2", "", ""), *parts.names}


async def test_in_a_cluster_an_organization_is_in_one_and_all_of_them_are_in_many() -> None:
    async with redis.connect("redis+cluster://127.0.0.1:1") as client:
        parts = Partitions(client)

    assert parts.of("k1", "u1", "o1") == parts.of("k2", "u2", "o1") == parts.of("k3", "", "o1")
    assert parts.of("k1", "u1", "") == parts.of("k2", "u1", "")
    used = {parts.of("k", "u", f"o{number}") for number in range(5000)}
    assert used == set(parts.names)
    assert redis_keys.MONEY_PARTITIONS == len(used)


async def test_what_a_key_alone_and_a_user_of_the_same_name_have_is_apart() -> None:
    async with redis.connect("redis+cluster://127.0.0.1:1") as client:
        parts = Partitions(client)

    apart = [name for name in map(str, range(100)) if parts.of(name, "", "") != parts.of("k", name, "")]
    assert len(apart) > 90
