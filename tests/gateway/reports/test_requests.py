"""Reports on single requests: what they find, and that none of them reads a whole table for it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.gateway import postgres
from services.gateway.reports.readers import Readers
from services.gateway.reports.requests import FILTERS, Outcome, RequestQuery, RequestReports
from services.gateway.reports.usage import UsageQuery, UsageReports
from tests.dashboard import traffic

HOUR = timedelta(hours=1)


class _Explaining:
    """A connection that asks how each statement would be done, before it is."""

    def __init__(self, connection: postgres.Connection, plans: list[str]) -> None:
        self._connection = connection
        self._plans = plans

    def __getattr__(self, name: str) -> Any:
        ask = getattr(self._connection, name)

        async def explained(statement: str, *values: Any) -> Any:
            self._plans += [row[0] for row in await self._connection.fetch(f"EXPLAIN {statement}", *values)]
            return await ask(statement, *values)

        return explained


class Explained(Readers):
    """Reads without scanning a table if there is any other way, and keeps the plans."""

    def __init__(self, pool: postgres.Pool) -> None:
        super().__init__(pool)
        self.plans: list[str] = []

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        async with super().connection() as one, one.transaction():
            await one.execute("SET LOCAL enable_seqscan = off")
            yield _Explaining(one, self.plans)


async def test_no_page_reads_a_whole_table(pool: postgres.Pool) -> None:
    now = datetime.now(UTC)
    happened = list(traffic.requests(now, HOUR, 40))
    await traffic.write(pool, happened)
    readers = Explained(pool)
    requests, used = RequestReports(readers), UsageReports(readers)
    request, since = happened[0].decision.context, now - HOUR

    for outcome in (None, *Outcome):
        await requests.find(RequestQuery(since, now, outcome=outcome))
    for name in FILTERS:
        await requests.find(RequestQuery(since, now, only={name: "x"}))
    assert await requests.story(request.request_id) is not None
    assert request.request_id == await requests.of_trace(request.traceparent.split("-")[1])
    await requests.latency(since)
    await requests.refused(since, now)
    await used.savings(UsageQuery(since, now))
    await used.rows(UsageQuery(since, now, ("hour", "kind")))

    assert len(readers.plans) > 100
    scanned = {line.strip() for line in readers.plans if "Seq Scan" in line}
    assert not scanned


@pytest.mark.parametrize("sample", [1, 99])
async def test_latency_is_that_of_answers_alone(pool: postgres.Pool, sample: int) -> None:
    now = datetime.now(UTC)
    happened = list(traffic.requests(now, HOUR, sample, seed=5))
    await traffic.write(pool, happened)
    taken = sorted(one.attempts[-1].attempt.duration_ms for one in happened if one.attempts)

    found = await RequestReports(Readers(pool)).latency(now - 2 * HOUR)

    assert len(taken) == found.answers
    assert found.p50_ms is not None
    assert found.p95_ms is not None
    assert taken[(len(taken) - 1) // 2] <= found.p50_ms <= taken[len(taken) // 2]
    assert found.p50_ms <= found.p95_ms <= taken[-1]


async def test_without_answers_there_is_no_latency(pool: postgres.Pool) -> None:
    found = await RequestReports(Readers(pool)).latency(datetime.now(UTC) - HOUR)

    assert (0, None, None) == (found.answers, found.p50_ms, found.first_p95_ms)
