"""What keys, limits and the ledger cost: python -m tests.bench.money.

CPU is this process's own, per operation; the stores are real, on the same machine.
"""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from services.chassis import redis
from services.gateway import postgres
from services.gateway.config import plans
from services.gateway.config.budgets import Budget, Period
from services.gateway.config.live import Live
from services.gateway.config.plans import Rate
from services.gateway.ledger import event_rows
from services.gateway.ledger.store import LedgerStore
from services.gateway.ledger.writer import LedgerWriter
from services.gateway.limits.admission import Limits
from services.gateway.migrate import migrate
from services.local.postgres import Postgres
from services.local.server import started
from services.local.valkey import Valkey
from tests.gateway.authentication import authenticating, store_of
from tests.gateway.money import FINAL, STARTED, admit, bill, caller, event

CONFIG = Path(__file__).parents[2] / "config" / "lumni.yaml"


async def measured(name: str, count: int, work: Callable[[], Awaitable[object]]) -> None:
    """Print the time and CPU of each of `count` operations that `work` did."""
    wall, cpu = time.perf_counter(), time.process_time()
    await work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{name:<52} {cpu / count * 1e6:8.1f} us CPU {wall / count * 1e6:8.1f} us wall")


async def main() -> None:
    """Measure everything once."""
    folder = Path(tempfile.mkdtemp(prefix="lumni-bench-"))
    folder.chmod(0o711)
    async with started(Postgres(folder / "postgres")) as server, started(Valkey(folder / "valkey")) as store:
        await migrate(server.url)
        async with (
            postgres.pool(server.url, timeout_s=30) as pool,
            redis.connect(store.url, timeout_s=2) as client,
        ):
            await _keys(pool, client)
            await _limits(pool, client)
            await _ledger(pool, client)
            await _frozen(pool, store)


async def _keys(pool: postgres.Pool, client: redis.Redis) -> None:
    configured = plans.load(CONFIG)
    made = await store_of(pool, client, configured).create("bench", {"user_id": "ann"})

    async with authenticating(pool, client, Live(configured)) as keys:

        async def work() -> None:
            for _ in range(20_000):
                await keys.caller(made["key"])

        await keys.caller(made["key"])
        await measured("a known key", 20_000, work)


async def _limits(pool: postgres.Pool, client: redis.Redis) -> None:
    who = caller(rate=Rate(10**9, 10**12, 10**6), budget=Budget(10**15, Period.MONTH))
    async with (limits := Limits(client, pool)).delivering():
        for crowd in (1, 16, 64):

            async def one(count: int) -> None:
                for _ in range(count):
                    admission = await admit(limits, who)
                    limits.settle(admission, bill(admission, 400))

            async def work(crowd: int = crowd) -> None:
                await asyncio.gather(*(one(4096 // crowd) for _ in range(crowd)))

            await measured(f"admit and settle, {crowd} at a time", 4096, work)


async def _ledger(pool: postgres.Pool, client: redis.Redis) -> None:
    writer = LedgerWriter(client, LedgerStore(pool))
    batches = [
        [
            event_rows.usage(
                event(
                    kind, request=f"{b}-{i}", cost=400, user=f"u{i % 50}", key=f"k{i % 100}"
                ).SerializeToString()
            )
            for i in range(500)
            for kind in (STARTED, FINAL)
        ]
        for b in range(20)
    ]

    async def work() -> None:
        for batch in batches:
            await writer.write(batch)

    await measured("write an attempt, in batches of 500", 10_000, work)


async def _frozen(pool: postgres.Pool, store: Valkey) -> None:
    waited = []
    async with (
        redis.connect(store.url, timeout_s=0.05) as client,
        (limits := Limits(client, pool)).delivering(),
    ):
        await admit(limits, caller())
        store.pause()
        until = time.monotonic() + 10
        while time.monotonic() < until:
            began = time.perf_counter()
            await admit(limits, caller())
            waited.append((time.perf_counter() - began) * 1000)
            await asyncio.sleep(0.005)
        store.resume()
    waited.sort()
    print(
        f"Valkey frozen for 10 s, {len(waited)} admissions: p50 {waited[len(waited) // 2]:.2f} ms, "
        f"p99 {waited[len(waited) * 99 // 100]:.2f} ms, longest {waited[-1]:.1f} ms"
    )


if __name__ == "__main__":
    asyncio.run(main())
