"""Spend: the ledger's sums of a period, by day, model, user and whatever else they are kept by."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from markupsafe import Markup

from services.chassis import errors
from services.gateway.dashboard import charts, formats
from services.gateway.dashboard.pages import HEADERS, HOME, Pages
from services.gateway.dashboard.periods import DAY, HOUR, PERIODS, Period, period
from services.gateway.reports.usage import UsageQuery, UsageReports, as_csv

# What spend is shown by, in the order of the menu; those of GROUPS in reports/usage that people ask for.
GROUPS = ("day", "model", "provider", "user", "organization", "key", "category", "tier", "plan", "hour")
# Those that are times: how long each is, and its name in the ledger's sums.
STEPS = {"day": (DAY, "%Y-%m-%d"), "hour": (HOUR, "%Y-%m-%d %H:00")}
# Rows of a table; the CSV file has all of them.
ROWS = 200


def router(pages: Pages, used: UsageReports, session_route: type[APIRoute]) -> APIRouter:
    """The page, and its rows as CSV."""
    routes = APIRouter(prefix=HOME, route_class=session_route)

    @routes.get("/spend")
    async def spend(request: Request) -> Response:
        wanted, group = _query(request)
        rows = await used.rows(wanted)
        total = (await used.rows(UsageQuery(wanted.since, wanted.until)))[0]
        most = max((row["cost_nano_usd"] or 0 for row in rows), default=0)
        timed = group in STEPS
        return await pages.page(
            request,
            "spend.html",
            rows=[
                {
                    **row,
                    "name": row[group],
                    "chart": charts.share(
                        row["cost_nano_usd"] or 0, most, kind="spend", label="share of the highest"
                    ),
                }
                # The newest day first, the dearest model first.
                for row in (rows[: -ROWS - 1 : -1] if timed else rows[:ROWS])
            ],
            hidden=max(len(rows) - ROWS, 0),
            total=total,
            chart=bars(wanted, rows, group) if timed else None,
            most=most,
            group=group,
            groups=GROUPS,
            shown=_period(request),
            periods=PERIODS,
            wanted=wanted,
        )

    @routes.get("/spend.csv")
    async def as_table(request: Request) -> Response:
        wanted, group = _query(request)
        name = f"spend-by-{group}-{wanted.since:%Y%m%d}-{wanted.until:%Y%m%d}.csv"
        return Response(
            as_csv(await used.rows(wanted), wanted.group_by),
            media_type="text/csv; charset=utf-8",
            headers={**HEADERS, "content-disposition": f'attachment; filename="{name}"'},
        )

    return routes


def _period(request: Request) -> Period:
    return period(request.query_params.get("period", "30d"))


def _query(request: Request) -> tuple[UsageQuery, str]:
    """What is asked for, and what it is grouped by.

    Raises:
        Invalid: an unknown grouping.
    """
    group = request.query_params.get("by", GROUPS[0])
    if group not in GROUPS:
        raise errors.Invalid(f"by: expected one of {', '.join(GROUPS)}", param="by")
    now = datetime.now(UTC)
    until = now.replace(minute=0, second=0, microsecond=0) + HOUR
    return UsageQuery(_period(request).starts(now)[0], until, (group,)), group


def bars(wanted: UsageQuery, rows: Sequence[Mapping[str, Any]], group: str) -> Markup:
    """A bar for each hour or day, those without any usage included, and those that the query has only a part of."""
    step, name = STEPS[group]
    costs = {row[group]: row["cost_nano_usd"] or 0 for row in rows}
    drawn = []
    # A period of hours begins within a day.
    start = wanted.since.replace(hour=0) if step == DAY else wanted.since
    while start < wanted.until:
        key = start.strftime(name)
        cost = costs.get(key, 0)
        drawn.append(charts.Bar(f"{key}: {formats.plain_usd(cost)} USD", (("spend", cost),)))
        start += step
    return charts.bars(drawn, label=f"Spend by {group}")
