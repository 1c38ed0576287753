"""Which version of the configuration each gateway process serves."""

import pytest

from services.chassis import errors, redis, redis_keys
from services.gateway.peers.versions import PublishedVersions, Served
from tests.gateway.conftest import eventually, running


async def test_each_process_says_what_it_serves_and_what_it_refuses_until_it_has_gone(
    client: redis.Redis,
) -> None:
    state = [Served("v1")]
    versions = PublishedVersions(client, lambda: state[0], every_s=0.01)
    # A process that has not said anything for long, and another one that has.
    await client.hset(
        redis_keys.CONFIGURATIONS, "gone/1", b'{"version":"v0","since":1.0,"refuses":"","at":1.0}'
    )
    await client.hset(
        redis_keys.CONFIGURATIONS, "other/1", b'{"version":"v0","since":1.0,"refuses":"","at":1e11}'
    )

    async def shown(version: str, refuses: str | None) -> None:
        async def so() -> bool:
            found = {one["replica"]: one for one in await versions.read()}
            own = [one for name, one in found.items() if name != "other/1"]
            return "other/1" in found and [(version, refuses)] == [
                (one["version"], one["refuses"]) for one in own
            ]

        await eventually(so)

    async with running(versions.publishing()):
        await shown("v1", None)
        state[0] = Served("v1", "lumni.yaml:3: plans.free.rpm: expected a whole number")
        await shown("v1", "lumni.yaml:3: plans.free.rpm: expected a whole number")
        state[0] = Served("v2")
        await shown("v2", None)
    assert not await client.hexists(redis_keys.CONFIGURATIONS, "gone/1")


async def test_without_redis_nobody_knows() -> None:
    async with redis.connect("redis://127.0.0.1:1/0", timeout_s=0.5) as nobody:
        with pytest.raises(errors.Unavailable, match="which versions are served"):
            await PublishedVersions(nobody, lambda: Served("v1")).read()
