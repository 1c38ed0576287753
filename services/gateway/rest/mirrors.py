"""The admin routes over mirrors."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response

from services.chassis.money import usd
from services.gateway.config.budgets import Period
from services.gateway.config.live import Live
from services.gateway.keys.authenticator import Authenticator
from services.gateway.keys.permissions import MIRROR
from services.gateway.mirroring import report
from services.gateway.mirroring.definition import Mirror
from services.gateway.mirroring.store import MirrorReports
from services.gateway.reports import usage
from services.gateway.reports.usage import UsageReports
from services.gateway.rest.admin_route import admin_route
from services.gateway.rest.json_answers import JsonResponse

Name = Annotated[str, Path(max_length=64)]


def router(
    keys: Authenticator,
    configured: Live[Mapping[str, Mirror]],
    reports: MirrorReports,
    used: UsageReports,
) -> APIRouter:
    """The routes below /admin/mirrors."""
    routes = APIRouter(prefix="/admin/mirrors", route_class=admin_route(keys))

    @routes.get("")
    async def find() -> Response:
        mirrors = configured.current
        compared = await reports.today()
        spent = await used.spent([_subject(name) for name in mirrors])
        data = [
            _shown(one, compared.get(name, 0), spent[_subject(name)][Period.DAY])
            for name, one in mirrors.items()
        ]
        return JsonResponse({"object": "list", "data": data})

    @routes.get("/{mirror}/report")
    async def compare(
        mirror: Name,
        since: Annotated[datetime | None, Query(alias="from")] = None,
        until: Annotated[datetime | None, Query(alias="to")] = None,
    ) -> Response:
        span = usage.query(since=since, until=until, group_by="", only={})
        sums = await reports.sums(mirror, span.since, span.until)
        return JsonResponse(
            {
                "object": "mirror.report",
                "mirror": mirror,
                "from": span.since,
                "to": span.until,
                **report.shown(sums),
            }
        )

    return routes


def _subject(mirror: str) -> str:
    return f"key:{MIRROR}{mirror}"


def _shown(mirror: Mirror, compared: int, spent_nano_usd: int) -> dict[str, Any]:
    target = mirror.target
    sets = {
        "model": target.model,
        "strategy": target.strategy,
        "powerful_share": target.powerful_share,
        "tier": target.tier,
        "access_groups": target.access_groups,
        "parameters": target.parameters,
    }
    return {
        "object": "mirror",
        "name": mirror.name,
        "share": mirror.share,
        "target": {name: value for name, value in sets.items() if value not in (None, "", (), {})},
        "plans": mirror.plans,
        "keys": mirror.keys,
        "deadline_s": mirror.deadline_s,
        "budget_usd": usd(mirror.budget_nano_usd),
        "judge": mirror.judge and {"model": mirror.judge.model, "share": mirror.judge.share},
        "compared_today": compared,
        "spent_today_usd": usd(spent_nano_usd),
        "spent_today_nano_usd": spent_nano_usd,
    }
