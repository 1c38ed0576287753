"""What was spent of late, as the ledger's tables tell."""

from datetime import UTC, datetime, timedelta

import pytest

from services.gateway import postgres
from services.gateway.config.alerts import Thresholds
from services.gateway.config.live import Live
from services.gateway.ledger import event_rows, recent_spending
from services.gateway.ledger.recent_spending import SpendingWatch
from services.gateway.ledger.store import LedgerStore
from tests.gateway.conftest import eventually, running
from tests.gateway.money import FINAL, event


async def spend(pool: postgres.Pool, ago: timedelta, nano_usd: int) -> None:
    """Write an attempt that began some time ago."""
    made = event(FINAL, request=f"r{ago}", cost=nano_usd)
    made.attempt.started_unix_us = int((datetime.now(UTC) - ago).timestamp() * 1e6)
    await LedgerStore(pool).write([event_rows.usage(made.SerializeToString())])


async def test_each_window_holds_what_was_spent_in_it(pool: postgres.Pool) -> None:
    for amount, ago in (
        (1, timedelta(minutes=1)),
        (10, timedelta(minutes=10)),
        (100, timedelta(minutes=40)),
        (1000, timedelta(hours=5)),
        (10_000, timedelta(hours=8)),
    ):
        await spend(pool, ago, amount)

    found = await recent_spending.read(pool)

    assert ([1, 111], [11, 1111]) == (
        [one.nano_usd for one in found.fast],
        [one.nano_usd for one in found.slow],
    )
    assert [300, 3600, 1800] == [one.window_s for one in (*found.fast, found.slow[0])]
    # From the beginning of an hour on.
    assert 6 * 3600 <= found.slow[1].window_s < 7 * 3600


async def test_what_was_read_last_counts_until_it_can_be_read_again(
    pool: postgres.Pool, caplog: pytest.LogCaptureFixture
) -> None:
    await spend(pool, timedelta(minutes=1), 7)
    watch = SpendingWatch(pool, Live(Thresholds(budget_usd=1.0, spending_every_s=0.01)))

    async def until(nano_usd: int) -> None:
        async def so() -> bool:
            return watch.latest is not None and watch.latest.fast[0].nano_usd == nano_usd

        await eventually(so)

    async def failed() -> bool:
        return "cannot be read" in caplog.text

    async with running(watch.run()):
        await until(7)
        await pool.execute("ALTER TABLE usage_records RENAME TO away")
        await eventually(failed)
        await until(7)
        await pool.execute("ALTER TABLE away RENAME TO usage_records")
        await spend(pool, timedelta(minutes=2), 5)
        await until(12)
    assert 1 == caplog.text.count("cannot be read")
