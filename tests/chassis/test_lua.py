"""Scripts run in a real Valkey, also after it has forgotten them."""

import pytest
from redis.exceptions import ResponseError

from services.chassis import redis
from services.chassis.lua import Script

DOUBLE = Script("return tonumber(ARGV[1]) * 2")


async def test_a_script_runs_though_the_server_does_not_know_it_yet(valkey: str) -> None:
    async with redis.connect(valkey, timeout_s=2) as client:
        await client.script_flush()
        assert 4 == await DOUBLE.run(client, ["k"], [2])
        assert 6 == await DOUBLE.run(client, ["k"], [3])


async def test_many_calls_are_answered_in_order_and_fail_alone(valkey: str) -> None:
    async with redis.connect(valkey, timeout_s=2) as client:
        await client.script_flush()
        answers = await DOUBLE.run_all(client, [(["k"], [1]), (["k"], ["no number"]), (["k"], [3])])

    assert [2, 6] == [answers[0], answers[2]]
    assert isinstance(answers[1], ResponseError)


async def test_a_script_gets_its_keys(valkey: str) -> None:
    async with redis.connect(valkey, timeout_s=2) as client:
        await client.set("lua:greeting", "hello")
        assert b"hello" == await Script("return redis.call('GET', KEYS[1])").run(client, ["lua:greeting"])


async def test_a_server_that_is_gone_is_an_error() -> None:
    async with redis.connect("redis://127.0.0.1:1", timeout_s=0.2) as client:
        with pytest.raises(redis.ERRORS):
            await DOUBLE.run_all(client, [(["k"], [1])])
