"""The overview: what was asked, what it cost and saved, how fast it was, and what went wrong."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from markupsafe import Markup

from services.chassis import errors
from services.gateway.dashboard import charts, formats
from services.gateway.dashboard.pages import HOME, Pages
from services.gateway.dashboard.periods import PERIODS, Period, period
from services.gateway.dashboard.remembered import Remembered
from services.gateway.reports.requests import Latency, RequestReports
from services.gateway.reports.usage import Savings, UsageQuery, UsageReports

# How long sums are good for, in seconds; pages ask again a little later.
SUMS_S = 5.0
REFRESH_S = 10
# The same of what was saved, which is counted request by request.
SAVINGS_S = 60.0
# How far back percentiles of latency look.
RECENT = timedelta(minutes=15)
# What becomes of an attempt, as the ledger says it, in the order of a bar's parts.
KINDS = ("final", "cached", "partial", "unknown", "failed")
# Models in the list.
MODELS = 8


@dataclass(frozen=True, slots=True)
class Step:
    """The numbers of one hour or day."""

    name: str
    label: str
    requests: int
    # By KINDS.
    attempts: Mapping[str, int]
    nano_usd: int


@dataclass(frozen=True, slots=True)
class Overview:
    """The numbers of one period."""

    total: Mapping[str, Any]
    # Attempts that got no answer.
    failed: int
    # Requests for which no provider was asked.
    refused: int
    models: Sequence[Mapping[str, Any]]
    attempts: Markup
    spend: Markup
    steps: Sequence[Step]
    # The highest bar of each chart.
    most_attempts: int
    most_spend: int
    latency: Latency
    at: datetime


class Numbers:
    """Reads them."""

    def __init__(self, used: UsageReports, requests: RequestReports) -> None:
        self._used = used
        self._requests = requests
        self._overviews: Remembered[Overview] = Remembered(SUMS_S)
        self._savings: Remembered[Savings | None] = Remembered(SAVINGS_S)

    async def overview(self, shown: Period) -> Overview:
        """The numbers of a period, at most `SUMS_S` old.

        Raises:
            Unavailable: the database does not answer.
        """
        return await self._overviews.get(shown.name, lambda: self._read(shown))

    async def savings(self, shown: Period) -> Savings | None:
        """What was saved in a period, at most `SAVINGS_S` ago; None where that takes too long to count."""
        return await self._savings.get(shown.name, lambda: self._count(shown))

    async def _count(self, shown: Period) -> Savings | None:
        now = datetime.now(UTC)
        try:
            return await self._used.savings(UsageQuery(shown.starts(now)[0], _end(now)))
        except errors.Unavailable:
            return None

    async def _read(self, shown: Period) -> Overview:
        now = datetime.now(UTC)
        starts = shown.starts(now)
        since, until = starts[0], _end(now)
        grouped, kinds, totals, models, latency, refused = await asyncio.gather(
            self._used.rows(UsageQuery(since, until, (shown.group,))),
            self._used.rows(UsageQuery(since, until, (shown.group, "kind"))),
            self._used.rows(UsageQuery(since, until)),
            self._used.rows(UsageQuery(since, until, ("model",))),
            self._requests.latency(now - RECENT),
            self._requests.refused(since, until),
        )
        steps = _steps(shown, starts, grouped, kinds)
        return Overview(
            total=totals[0],
            failed=sum(one.attempts["failed"] for one in steps),
            refused=refused,
            models=models[:MODELS],
            attempts=charts.bars([_attempts(one) for one in steps], label=f"Attempts in {shown.title}"),
            spend=charts.bars([_spend(one) for one in steps], label=f"Spend in {shown.title}"),
            steps=steps,
            most_attempts=max(sum(one.attempts.values()) for one in steps),
            most_spend=max(one.nano_usd for one in steps),
            latency=latency,
            at=now,
        )


def router(pages: Pages, numbers: Numbers, session_route: type[APIRoute]) -> APIRouter:
    """The first page, and the part of it that is asked for again and again."""
    routes = APIRouter(prefix=HOME, route_class=session_route)

    async def show(request: Request, name: str) -> Response:
        shown = period(request.query_params.get("period", ""))
        found, saved = await asyncio.gather(numbers.overview(shown), numbers.savings(shown))
        return await pages.page(
            request, name, found=found, saved=saved, shown=shown, periods=PERIODS, refresh_s=REFRESH_S
        )

    @routes.get("")
    async def overview(request: Request) -> Response:
        return await show(request, "overview.html")

    @routes.get("/overview/live")
    async def live(request: Request) -> Response:
        return await show(request, "overview_live.html")

    return routes


def _end(now: datetime) -> datetime:
    """The end of the hour that has begun."""
    return now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)


def _steps(
    shown: Period,
    starts: Sequence[datetime],
    grouped: Sequence[Mapping[str, Any]],
    kinds: Sequence[Mapping[str, Any]],
) -> list[Step]:
    """The numbers of each hour or day, those without any usage included."""
    sums = {row[shown.group]: row for row in grouped}
    attempts = {(row[shown.group], row["kind"]): row["attempts"] for row in kinds}
    return [
        Step(
            name=(name := shown.key(start)),
            label=shown.label(start),
            requests=sums.get(name, {}).get("requests", 0),
            attempts={kind: attempts.get((name, kind), 0) for kind in KINDS},
            nano_usd=sums.get(name, {}).get("cost_nano_usd") or 0,
        )
        for start in starts
    ]


def _attempts(step: Step) -> charts.Bar:
    shown = ", ".join(f"{formats.count(number)} {kind}" for kind, number in step.attempts.items() if number)
    return charts.Bar(f"{step.name}: {shown or 'no attempts'}", tuple(step.attempts.items()))


def _spend(step: Step) -> charts.Bar:
    return charts.Bar(f"{step.name}: {formats.plain_usd(step.nano_usd)} USD", (("spend", step.nano_usd),))
