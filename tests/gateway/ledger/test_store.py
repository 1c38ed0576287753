"""The ledger's tables, and the sums that follow from them."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from lumni.events.v1 import events_pb2

from services.gateway import postgres
from services.gateway.config.budgets import Period, token
from services.gateway.ledger import event_rows
from services.gateway.ledger import store as ledger_store
from services.gateway.ledger.store import LedgerStore
from services.gateway.reports import usage
from services.gateway.reports.readers import Readers
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


async def test_an_answer_from_the_cache_is_a_row_that_cost_nothing_with_what_it_saved(
    pool: postgres.Pool,
) -> None:
    store = LedgerStore(pool)
    hit = event(events_pb2.USAGE_KIND_CACHED, request="r2", tokens=0)
    hit.saved_nano_usd, hit.cache_result = 70, "semantic"
    made = event(FINAL, request="r1", cost=70)
    batch = [event_rows.usage(one.SerializeToString()) for one in (made, hit)]
    await store.write(batch)
    # What is delivered twice counts once.
    await store.write(batch)

    row = await pool.fetchrow("SELECT * FROM usage_records WHERE request_id = 'r2'")
    assert row is not None
    assert ("cached", 0, 70) == (row["kind"], row["cost_nano_usd"], row["saved_nano_usd"])
    assert "semantic" == row["cache_result"]
    spent = await pool.fetchval(
        "SELECT spent_nano_usd FROM budget_spend WHERE subject = 'key:k1' AND period = 'total'"
    )
    assert 70 == spent
    now = datetime.fromtimestamp(made.attempt.started_unix_us / 1e6, UTC)
    wanted = usage.query(
        since=now - timedelta(days=1), until=now + timedelta(days=1), group_by="kind", only={}
    )
    reported = {one["kind"]: one for one in await usage.UsageReports(Readers(pool)).rows(wanted)}
    assert (70, 0.0) == (reported["final"]["cost_nano_usd"], reported["final"]["cache_saved_usd"])
    assert (0, 7e-8) == (reported["cached"]["cost_nano_usd"], reported["cached"]["cache_saved_usd"])
    assert [1, 1] == [one["requests"] for one in reported.values()]
