"""Each service's user of Redis can do what the service owns, and nothing else."""

from collections.abc import Callable

import pytest

from services.chassis import redis, redis_acl
from services.local.valkey import Valkey
from tests.attacks.redis_acl import asking, trying, wrong


@pytest.mark.parametrize("user", redis_acl.USERS)
async def test_no_service_reads_or_writes_the_keys_of_another(
    make_valkey: Callable[[], Valkey], user: str
) -> None:
    server = make_valkey()
    await server.start()

    async with (
        redis.connect(server.url, timeout_s=5) as operator,
        redis.connect(server.url_of(user), timeout_s=5) as client,
    ):
        assert [] == await wrong(user, asking(operator, user))
        assert [] == await wrong(user, trying(client))


async def test_the_attack_finds_a_user_who_may_do_everything(make_valkey: Callable[[], Valkey]) -> None:
    server = make_valkey()
    await server.start()

    async with redis.connect(server.url, timeout_s=5) as operator:
        found = await wrong("selector", asking(operator, "default"))

    assert any(line.startswith("selector can write spent: ") for line in found)
    assert "selector can run FLUSHALL" in found
