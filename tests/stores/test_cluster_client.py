"""A cluster behind the interface of one Redis: routing, redirections, a primary that dies."""

import pytest
from redis.crc import key_slot

from services.chassis import redis, redis_keys
from services.chassis.learning import Learning, Mode
from services.chassis.lua import Script
from services.selector.live.exploration_bounds import ExplorationBounds
from services.selector.live.learned_evidence import LearnedEvidence
from services.selector.live.learned_sync import LearnedSync
from tests.gateway.conftest import eventually
from tests.stores.valkey_cluster import ValkeyCluster

pytestmark = pytest.mark.timeout(600)
# One key at each of the three servers.
APART = ("a", "b", "c")
# One that is where the first of them is.
MOVING = "e"


async def test_commands_go_where_their_keys_are(client: redis.Redis) -> None:
    assert 3 == len({(await redis.server_of(client, key)).connection_pool for key in APART})

    for key in APART:
        await client.set(key, key)
    answers = await redis.exchange(client, [("GET", key) for key in (*APART, *APART)])

    assert [key.encode() for key in (*APART, *APART)] == answers
    assert await client.ping()


async def test_streams_are_read_in_groups(client: redis.Redis) -> None:
    for number in range(3):
        stream = redis_keys.partition(redis_keys.USAGE_STREAM, number)
        await client.xgroup_create(stream, "g", id="0", mkstream=True)
        await client.xadd(stream, {"n": number})
        read = redis.entries(await client.xreadgroup("g", "me", {stream: ">"}, block=100))
        assert [{b"n": str(number).encode()}] == [fields for _, fields in read]


async def test_a_script_runs_at_each_server_though_none_knows_it(client: redis.Redis) -> None:
    script = Script("return redis.call('INCRBY', KEYS[1], ARGV[1])")

    assert [1, 2, 3] == await script.run_all(client, [([key], [n]) for n, key in enumerate(APART, 1)])
    assert 5 == await script.run(client, ["a"], [4])


async def test_a_replica_leases_the_exploration_budget(client: redis.Redis) -> None:
    bounds, now = ExplorationBounds(), 86_400.0 * 3
    sync = LearnedSync(LearnedEvidence(), bounds, lambda: Learning(Mode.ON, 0.02, 1000))

    await sync.exchange(client, now)

    assert 20 == bounds.left_nano_usd(now)


async def test_a_transaction_is_of_one_slot(client: redis.Redis) -> None:
    answers = await redis.transaction(client, [("SET", "{a}1", 1), ("INCRBY", "{a}1", 2)])
    assert [b"OK", 3] == answers

    with pytest.raises(redis.ERRORS):
        await redis.transaction(client, [("SET", "a", 1), ("SET", "b", 1)])
    assert None is await client.get("a")


async def test_a_slot_that_moves_is_followed(cluster: ValkeyCluster, client: redis.Redis) -> None:
    slot = key_slot(MOVING.encode())
    source, target = await redis.server_of(client, MOVING), await redis.server_of(client, "b")

    async def ask(server: redis.Redis, *command: str | int) -> str:
        return redis.text(redis.checked(await redis.exchange(server, [("CLUSTER", *command)]))[0])

    ids = {one: await ask(one, "MYID") for one in (source, target)}
    await ask(target, "SETSLOT", slot, "IMPORTING", ids[source])
    await ask(source, "SETSLOT", slot, "MIGRATING", ids[target])

    # The key is nowhere yet, so it is made at the target.
    assert await client.set(MOVING, "asked")
    assert [b"asked"] == await redis.exchange(client, [("GET", MOVING)])
    for one in (target, source):
        await ask(one, "SETSLOT", slot, "NODE", ids[target])
    assert b"asked" == await client.get(MOVING)
    assert [b"asked"] == await redis.exchange(client, [("GET", MOVING)])
    assert [b"OK"] == await redis.transaction(client, [("SET", MOVING, "moved")])
    assert target is await redis.server_of(client, MOVING)
    await cluster.whole()


async def test_what_names_no_key_is_refused_instead_of_asked_of_any_server(client: redis.Redis) -> None:
    with pytest.raises(ValueError, match="one server"):
        await client.dbsize()
    with pytest.raises(ValueError, match="key"):
        await client.eval("return 1", 0)


async def test_a_dead_primary_fails_its_own_commands_until_its_replica_serves_them(
    cluster: ValkeyCluster, client: redis.Redis
) -> None:
    for key in APART:
        await client.set(key, key)
    await (await redis.server_of(client, "b")).wait(1, 10_000)
    dead = await cluster.primary_of("b")
    dead.kill()

    first, second, third = await redis.exchange(client, [("GET", key) for key in APART])
    assert (b"a", b"c") == (first, third)
    assert redis.is_passing(second)

    async def by_the_replica() -> bool:
        try:
            return bool([b"b"] == await redis.exchange(client, [("GET", "b")]))
        except redis.ERRORS:
            return False

    await eventually(by_the_replica)
    await dead.start()
    await cluster.whole()
    assert b"b" == await client.get("b")
