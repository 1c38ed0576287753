"""A ledger process inside a test, and waiting for what it does."""

from typing import Any

from services.chassis import redis, redis_keys, stream_partitions
from services.gateway import postgres
from services.gateway.ledger.consumer import Consumer
from services.gateway.ledger.housekeeping import Housekeeping
from services.gateway.ledger.recovery import Recovery
from services.gateway.ledger.retention import Retention
from services.gateway.ledger.store import LedgerStore
from services.gateway.ledger.writer import LedgerWriter
from tests.gateway.conftest import eventually, running


class Ledger:
    """All parts of a ledger process, in this one."""

    def __init__(
        self,
        pool: postgres.Pool,
        client: redis.Redis,
        *,
        grace_s: float = 60.0,
        retention_days: int = 0,
        learnt_days: int = 0,
        partitions: int = 1,
    ) -> None:
        self.store = LedgerStore(pool, grace_s=grace_s)
        self.writer = LedgerWriter(client, self.store)
        self.recovery = Recovery(client, self.store, self.writer)
        self.usage, self.decisions = (
            [self._consumer(client, part, write) for part in stream_partitions.all_of(stream, partitions)]
            for stream, write in (
                (redis_keys.USAGE_STREAM, self.writer.usage),
                (redis_keys.DECISION_STREAM, self.writer.decisions),
            )
        )
        self.housekeeping = Housekeeping(
            Retention(pool),
            self.recovery,
            self.usage,
            self.decisions,
            pause_s=0.05,
            retention_days=retention_days,
            learnt_days=learnt_days,
        )

    def _consumer(self, client: redis.Redis, stream: str, write: Any) -> Consumer:
        return Consumer(client, stream, write, interval_s=0.01, takeover_s=0.2)

    def open(self) -> Any:
        """Run all parts until the block ends."""
        consumers = [one.run() for one in (*self.usage, *self.decisions)]
        return running(*consumers, self.housekeeping.run())


async def written(pool: postgres.Pool, count: int) -> None:
    """Wait until so many attempts have a row, and fail when there are more."""

    async def enough() -> bool:
        return bool(await pool.fetchval("SELECT count(*) FROM usage_records") >= count)

    await eventually(enough)
    assert count == await pool.fetchval("SELECT count(*) FROM usage_records")


async def acknowledged(client: redis.Redis) -> None:
    """Wait until the ledger has acknowledged everything in the stream."""

    async def nothing_left() -> bool:
        groups = await client.xinfo_groups(redis_keys.USAGE_STREAM)
        info = await client.xinfo_stream(redis_keys.USAGE_STREAM)
        return bool(
            groups
            and groups[0]["pending"] == 0
            and groups[0]["last-delivered-id"] == info["last-generated-id"]
        )

    await eventually(nothing_left)
