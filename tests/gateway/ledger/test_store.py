"""The ledger's tables, and the sums that follow from them."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from services.gateway import postgres
from services.gateway.config.budgets import Period, token
from services.gateway.ledger import event_rows
from services.gateway.ledger import store as ledger_store
from services.gateway.ledger.store import LedgerStore
from tests.gateway.money import (
    FINAL,
    event,
)


async def test_writers_that_touch_the_same_subjects_in_opposite_orders_lose_nothing(
    pool: postgres.Pool,
) -> None:
    store = LedgerStore(pool)

    async def write(round_: int, backwards: bool) -> None:
        numbers = range(40, 0, -1) if backwards else range(1, 41)
        batch = [
            event_rows.usage(
                event(FINAL, request=f"{round_}-{backwards}-{i}", cost=1, user=f"u{i}").SerializeToString()
            )
            for i in numbers
        ]
        while True:
            with suppress(*postgres.CONFLICTS):
                await store.write(batch)
                return

    await asyncio.gather(*(write(i, i % 2 == 0) for i in range(12)))

    sums = await pool.fetch(
        "SELECT spent_nano_usd FROM budget_spend WHERE subject LIKE 'user:%' AND period = 'total'"
    )
    assert [12] * 40 == [row["spent_nano_usd"] for row in sums]


async def test_postgresql_names_periods_as_the_plans_do(pool: postgres.Pool) -> None:
    first = datetime(2024, 2, 26, tzinfo=UTC)
    moments = [first + timedelta(hours=5 * i, microseconds=i) for i in range(4000)]

    found = await pool.fetch(
        f"SELECT moment, array_agg(span.period) AS periods FROM unnest($1::timestamptz[]) AS moment "
        f"CROSS JOIN LATERAL ({ledger_store.PERIODS.format(moment='moment')}) AS span (period) GROUP BY 1",
        moments,
    )

    assert len(moments) == len(found)
    for row in found:
        assert {token(period, row["moment"]) for period in Period} == set(row["periods"])
