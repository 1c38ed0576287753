"""What the usage routes read, from rows that the ledger wrote."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from services.chassis import errors
from services.gateway import postgres
from services.gateway.ledger import event_rows as usage_events
from services.gateway.ledger.store import LedgerStore
from services.gateway.reports.readers import READERS, Readers
from services.gateway.reports.usage import UsageReports, query
from tests.gateway.conftest import eventually
from tests.gateway.money import FAILED, FINAL, event

# When `event` says that its attempts began.
SINCE = datetime.fromtimestamp(1_790_000_000, UTC) - timedelta(days=1)
UNTIL = SINCE + timedelta(days=2)


async def test_a_model_that_was_fallen_back_to_has_requests_and_a_cost_for_each(pool: postgres.Pool) -> None:
    events = [
        one
        for i in range(3)
        for one in (
            event(FAILED, request=f"r{i}", model="breaks"),
            event(FINAL, request=f"r{i}", number=2, model="saves", cost=600),
        )
    ]
    await LedgerStore(pool).write([usage_events.usage(one.SerializeToString()) for one in events])
    used = UsageReports(Readers(pool))

    async def ask(group_by: str, **only: str) -> list[tuple[object, ...]]:
        wanted = query(since=SINCE, until=UNTIL, group_by=group_by, only=only)
        rows = await used.rows(wanted)
        return [(row.get("model"), row["requests"], row["cost_per_request_usd"]) for row in rows]

    assert [("saves", 3, 6e-7), ("breaks", 3, 0.0)] == await ask("model")
    assert [(None, 3, 6e-7)] == await ask("", model="saves")
    assert [(None, 3, 6e-7)] == await ask("")


async def test_a_cost_that_nobody_knows_is_null_in_its_row_and_counted_in_sums(pool: postgres.Pool) -> None:
    paid, unknown, failed = (
        event(FINAL, request="r1", model="paid", cost=600),
        event(FINAL, request="r2", model="house", cost=0),
        event(FAILED, request="r3", model="house"),
    )
    for one in (unknown, failed):
        one.attempt.unpriced = True
    await LedgerStore(pool).write(
        [usage_events.usage(one.SerializeToString()) for one in (paid, unknown, failed)]
    )
    used = UsageReports(Readers(pool))

    rows = {
        row["model"]: (row["attempts"], row["unpriced"], row["cost_nano_usd"])
        for row in await used.rows(query(since=SINCE, until=UNTIL, group_by="model", only={}))
    }
    (total,) = await used.rows(query(since=SINCE, until=UNTIL, group_by="", only={}))

    costs = await pool.fetch("SELECT request_id, cost_nano_usd FROM usage_records ORDER BY 1")
    assert [("r1", 600), ("r2", None), ("r3", 0)] == [tuple(row.values()) for row in costs]
    assert {"paid": (1, 0, 600), "house": (2, 1, 0)} == rows
    assert (600, 1) == (total["cost_nano_usd"], total["unpriced"])
    by_kind = await used.rows(query(since=SINCE, until=UNTIL, group_by="kind", only={"model": "house"}))
    assert {"final": None, "failed": 0} == {row["kind"]: row["cost_nano_usd"] for row in by_kind}


async def test_what_a_caller_notes_is_in_the_row(pool: postgres.Pool) -> None:
    noted = event(FINAL, request="r1")
    noted.context.metadata["team"] = "blue"
    await LedgerStore(pool).write([usage_events.usage(noted.SerializeToString())])

    assert {"team": "blue"} == await pool.fetchval("SELECT metadata FROM usage_records")


async def test_readers_of_usage_leave_connections_for_those_whose_key_is_looked_up(
    pool: postgres.Pool,
) -> None:
    used = UsageReports(Readers(pool))
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("LOCK TABLE budget_spend IN ACCESS EXCLUSIVE MODE")
        readers = [asyncio.create_task(used.spent(["key:k1"])) for _ in range(20)]

        async def waiting() -> bool:
            locked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            return bool(READERS == await pool.fetchval(locked))

        await eventually(waiting)
        assert 1 == await pool.fetchval("SELECT 1", timeout=60)
        await asyncio.gather(*readers, return_exceptions=True)


@pytest.mark.parametrize(
    ("since", "until", "param"),
    [
        (None, "0001-01-01T00:00:00", "to"),
        (None, "9999-12-31T23:59:59+00:00", "to"),
        (None, "0001-01-01T00:00:00+14:00", "to"),
        (None, "9999-12-31T23:59:59-14:00", "to"),
        ("0001-01-01T00:00:00", "2026-01-01T00:00:00", "from"),
        ("9999-01-01T00:00:00", None, "from"),
        ("2026-01-02T00:00:00", "2026-01-01T00:00:00", "from"),
    ],
)
def test_dates_that_cannot_be_reckoned_with_are_refused(
    since: str | None, until: str | None, param: str
) -> None:
    def date(text: str | None) -> datetime | None:
        return datetime.fromisoformat(text) if text else None

    with pytest.raises(errors.Invalid) as caught:
        query(since=date(since), until=date(until), group_by="model", only={})
    assert param == caught.value.param
