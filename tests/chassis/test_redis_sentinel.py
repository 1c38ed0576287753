"""Sentinels: none is forgotten, however many connections ask at once."""

import asyncio
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from services.chassis.redis_sentinel import Sentinels

KNOWN = {"lumni": {"is_master": True, "is_sdown": False, "is_odown": False, "ip": "10.0.0.1", "port": 6379}}


class One:
    """A sentinel that answers when it may, and not while it is down."""

    def __init__(self, *, down: bool = False) -> None:
        self.down = down
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.asked = asyncio.Event()

    async def sentinel_masters(self) -> dict[str, Any]:
        self.asked.set()
        await self.may_answer.wait()
        if self.down:
            raise RedisConnectionError("refused")
        return {name: {**state, "num-other-sentinels": 2} for name, state in KNOWN.items()}


def sentinels(*ones: Any) -> Sentinels:
    made = Sentinels([])  # type: ignore[no-untyped-call]
    made.sentinels = [*ones]
    return made


def order(asked: Sentinels) -> list[Any]:
    return [*asked.sentinels]


async def test_the_one_that_answers_is_asked_first_from_then_on() -> None:
    down, up = One(down=True), One()
    asked = sentinels(down, up)

    assert ("10.0.0.1", 6379) == await asked.discover_master("lumni")

    assert [up, down] == order(asked)


@pytest.mark.timeout(60)
async def test_two_who_ask_at_once_forget_none() -> None:
    down, slow, last = One(down=True), One(), One()
    asked = sentinels(down, slow, last)
    slow.may_answer.clear()
    first = asyncio.create_task(asked.discover_master("lumni"))
    await slow.asked.wait()
    # Meanwhile another one finds the primary, and moves the sentinel that said so to the front.
    slow.asked.clear()
    second = asyncio.create_task(asked.discover_master("lumni"))
    await slow.asked.wait()
    slow.may_answer.set()

    await asyncio.gather(first, second)

    assert {down, slow, last} == set(order(asked))
