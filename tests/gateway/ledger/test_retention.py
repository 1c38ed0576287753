"""Tables by month, and how long rows are kept."""

from datetime import UTC, datetime, timedelta

from services.gateway import postgres
from services.gateway.ledger import event_rows
from services.gateway.ledger.retention import Retention
from services.gateway.ledger.store import LedgerStore
from tests.gateway.money import (
    FINAL,
    event,
)


async def test_rows_go_to_the_table_of_their_month_and_old_ones_are_pruned_in_batches(
    pool: postgres.Pool,
) -> None:
    retention = Retention(pool)
    now = datetime.now(UTC)
    await retention.make_partitions(now)
    await retention.make_partitions(now)
    for name, moment in (("new", now), ("old", now - timedelta(days=400))):
        await LedgerStore(pool).write(
            [
                event_rows.usage(
                    event(
                        FINAL,
                        request=f"{name}{i}",
                        cost=1,
                        started_us=int(moment.timestamp() * 1e6) + i,
                    ).SerializeToString()
                )
                for i in range(10)
            ]
        )
    table = f"usage_records_{now:%Y_%m}"
    assert 10 == await pool.fetchval(f"SELECT count(*) FROM {table}")

    removed = [await retention.prune(now - timedelta(days=30), batch=4) for _ in range(4)]

    assert [4, 4, 2, 0] == removed
    assert 10 == await pool.fetchval("SELECT count(*) FROM usage_records")
    assert 20 == await pool.fetchval(
        "SELECT spent_nano_usd FROM budget_spend WHERE subject = 'key:k1' AND period = 'total'"
    )


async def test_a_month_that_cannot_be_made_now_keeps_no_writer_waiting_and_is_made_later(
    pool: postgres.Pool,
) -> None:
    retention, month = Retention(pool), datetime(2040, 1, 1, tzinfo=UTC)
    made = "SELECT to_regclass('usage_records_2040_01') IS NOT NULL"

    async with postgres.connection(pool, timeout_s=30) as connection, connection.transaction():
        # As the build of an index does.
        await connection.execute("LOCK TABLE usage_records_other IN SHARE UPDATE EXCLUSIVE MODE")
        await retention.make_partitions(month, months=0)
        assert not await connection.fetchval(made)
    await retention.make_partitions(month, months=0)

    assert await pool.fetchval(made)
