"""One fault, over and over while requests run, then the audit."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import redis.asyncio as redis

from tests.faults import world as worlds
from tests.faults.audit import Audit, audit
from tests.faults.load import Load, drive, make_keys, on_a_budget_for_one
from tests.faults.world import World

Fault = Callable[[World, random.Random], Coroutine[Any, Any, None]]


async def _nothing(world: World, dice: random.Random) -> None:
    await asyncio.sleep(1)


def _kills(kind: str) -> Fault:
    async def kill(world: World, dice: random.Random) -> None:
        await world.kill(dice.choice(world.of(kind)))

    return kill


async def _freeze_valkey(world: World, dice: random.Random) -> None:
    world.valkey.pause()
    await asyncio.sleep(dice.uniform(1, 10))
    world.valkey.resume()


async def _restart_valkey(world: World, dice: random.Random) -> None:
    world.valkey.kill()
    while world.valkey.pid is not None:
        await asyncio.sleep(0.01)
    await asyncio.sleep(dice.uniform(0, 2))
    await world.valkey.start()


async def _empty_valkey(world: World, dice: random.Random) -> None:
    async with redis.from_url(world.valkey.url, socket_timeout=5) as client:
        await client.flushall()


async def _restart_postgres(world: World, dice: random.Random) -> None:
    world.postgres.kill()
    while world.postgres.pid is not None:
        await asyncio.sleep(0.01)
    await asyncio.sleep(dice.uniform(0, 3))
    await world.postgres.start()


async def _deliver_twice(world: World, dice: random.Random) -> None:
    """Append what is in the streams once more, as a spool does whose acknowledgement was lost."""
    async with redis.from_url(world.valkey.url, socket_timeout=5) as client:
        for stream in ("lumni:usage", "lumni:decisions"):
            entries: list[Any] = await client.xrange(stream, count=200) or []
            for _, fields in entries:
                await client.xadd(stream, fields)
    await asyncio.sleep(0.2)


async def _anything(world: World, dice: random.Random) -> None:
    quick = ("gateway-killed", "executor-killed", "ledger-killed", "valkey-emptied", "delivered-twice")
    await FAULTS[dice.choice(quick)](world, dice)


FAULTS: dict[str, Fault] = {
    "anything": _anything,
    "none": _nothing,
    "gateway-killed": _kills("gateway"),
    "executor-killed": _kills("executor"),
    "ledger-killed": _kills("ledger"),
    "valkey-frozen": _freeze_valkey,
    "valkey-restarted": _restart_valkey,
    "valkey-emptied": _empty_valkey,
    "postgres-restarted": _restart_postgres,
    "delivered-twice": _deliver_twice,
}


async def run(
    folder: Path,
    name: str,
    requests: int,
    *,
    seed: int = 1,
    gateways: int = 3,
    executors: int = 2,
    ledgers: int = 2,
    pause_s: tuple[float, float] = (0.5, 3.0),
) -> tuple[Load, Audit]:
    """Load a world while one fault strikes again and again; what callers saw, and what the books say."""
    async with worlds.running(folder, gateways=gateways, executors=executors, ledgers=ledgers) as world:
        load = Load()
        load.keys = await make_keys(world)
        striking = asyncio.create_task(_strike(world, FAULTS[name], random.Random(seed), pause_s))
        try:
            await drive(world, load, requests, callers=16, seed=seed)
        finally:
            striking.cancel()
            await asyncio.wait([striking])
        if not striking.cancelled() and (error := striking.exception()):
            raise error
        # The gateways may just have found Redis again.
        await asyncio.sleep(1)
        statuses = await on_a_budget_for_one(world, load)
        found = await audit(world)
        found.check(statuses == [200] + [429] * 49, f"on a budget for one request callers saw {statuses}")
        found.check(load.endings["500"] == 0, f"{load.endings['500']} callers saw an internal error")
        return load, found


async def _strike(world: World, fault: Fault, dice: random.Random, pause_s: tuple[float, float]) -> None:
    while True:
        await asyncio.sleep(dice.uniform(*pause_s))
        struck = asyncio.create_task(fault(world, dice))
        try:
            await asyncio.shield(struck)
        except asyncio.CancelledError:
            # A fault that has begun is carried through: a stopped store must be started again.
            await struck
            raise
