"""Each service's user of Redis can do what the service owns, and nothing else."""

from collections.abc import Callable

from services.chassis import redis_acl
from services.local.valkey import Valkey
from tests.attacks import redis_acl as attacks


async def test_no_service_reads_or_writes_the_keys_of_another(make_valkey: Callable[[], Valkey]) -> None:
    server = make_valkey()
    await server.start()

    assert [] == await attacks.attack({user: server.url_of(user) for user in redis_acl.USERS})


async def test_the_attack_finds_a_user_who_may_do_everything(make_valkey: Callable[[], Valkey]) -> None:
    server = make_valkey()
    await server.start()

    found = await attacks.attack({"selector": server.url})

    assert "selector can write spent: " in "\n".join(found)
    assert "selector can run FLUSHALL" in found
