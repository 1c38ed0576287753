"""What was used, for admins and for the holders of keys."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from services.chassis import errors, money
from services.gateway.keys.authenticator import Authenticator
from services.gateway.keys.permissions import Caller
from services.gateway.reports import usage
from services.gateway.reports.savings import SavingsReports
from services.gateway.reports.time_range import time_range
from services.gateway.reports.usage import UsageReports
from services.gateway.rest import client_dialects, key_schemas
from services.gateway.rest.admin_route import admin_route
from services.gateway.rest.json_answers import JsonResponse


def router(keys: Authenticator, used: UsageReports, saved: SavingsReports) -> APIRouter:
    """The routes /admin/usage, /admin/savings, /usage/{user_id} and /key/info."""
    routes = APIRouter()
    for_admins = APIRouter(prefix="/admin", route_class=admin_route(keys))

    async def answer(wanted: usage.UsageQuery, form: str) -> Response:
        rows = await used.rows(wanted)
        if form == "csv":
            return Response(usage.as_csv(rows, wanted.group_by), media_type="text/csv; charset=utf-8")
        whole = usage.UsageQuery(wanted.since, wanted.until, (), wanted.only)
        return JsonResponse(
            {
                "object": "usage",
                "from": wanted.since,
                "to": wanted.until,
                "group_by": wanted.group_by,
                "data": rows,
                "total": rows[0] if not wanted.group_by else (await used.rows(whole))[0],
                "savings": _savings(await used.savings(whole)),
            }
        )

    @for_admins.get("/usage")
    async def all_usage(
        since: Annotated[datetime | None, Query(alias="from")] = None,
        until: Annotated[datetime | None, Query(alias="to")] = None,
        group_by: str = "model",
        user_id: str | None = None,
        key_id: str | None = None,
        organization_id: str | None = None,
        plan: str | None = None,
        model: str | None = None,
        form: Annotated[str, Query(alias="format", pattern="^(json|csv)$")] = "json",
    ) -> Response:
        only = {
            "user_id": user_id,
            "key_id": key_id,
            "organization_id": organization_id,
            "plan": plan,
            "model": model,
        }
        return await answer(usage.query(since=since, until=until, group_by=group_by, only=only), form)

    @for_admins.get("/savings")
    async def savings(
        since: Annotated[datetime | None, Query(alias="from")] = None,
        until: Annotated[datetime | None, Query(alias="to")] = None,
    ) -> Response:
        return JsonResponse(await saved.report(time_range(since, until)))

    @routes.get("/usage/{user_id}")
    async def of_user(
        request: Request,
        user_id: str,
        since: Annotated[datetime | None, Query(alias="from")] = None,
        until: Annotated[datetime | None, Query(alias="to")] = None,
        group_by: str = "model",
        form: Annotated[str, Query(alias="format", pattern="^(json|csv)$")] = "json",
    ) -> Response:
        caller = await keys.caller(client_dialects.key(request.scope))
        if not caller.is_admin and caller.user_id != user_id:
            # The same whether or not there is such a user: strangers learn nothing of users.
            raise errors.Forbidden("this is another user's usage", reason="NOT_YOUR_USAGE")
        only = {"user_id": user_id}
        return await answer(usage.query(since=since, until=until, group_by=group_by, only=only), form)

    @routes.get("/key/info")
    async def info(request: Request) -> Response:
        caller = await keys.caller(client_dialects.key(request.scope))
        return JsonResponse(_info(caller, await used.spent([one.name for one in caller.subjects])))

    routes.include_router(for_admins)
    return routes


def _savings(found: usage.Savings) -> dict[str, Any]:
    return {
        "requests": found.requests,
        "cost_usd": money.usd(found.cost_nano_usd),
        "most_powerful_usd": money.usd(found.most_powerful_nano_usd),
        "saved_usd": money.usd(found.saved_nano_usd),
        "saved_share": found.share,
    }


def _info(caller: Caller, spent: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    """What the holder of a key may read of it."""
    plan = caller.plan
    return {
        "object": "key",
        "key_id": caller.key_id,
        "user_id": caller.user_id or None,
        "organization_id": caller.organization_id or None,
        "plan": plan.name,
        "access_groups": plan.access_groups,
        "models": caller.models,
        "strategy": plan.strategy,
        "max_output_tokens": plan.max_output_tokens,
        "max_request_tokens": plan.max_request_tokens or None,
        "expires_at": datetime.fromtimestamp(caller.expires_at, UTC) if caller.expires_at else None,
        "metadata": caller.metadata,
        "limits": [
            {
                "subject": one.name,
                "rpm": one.rate.rpm or None,
                "tpm": one.rate.tpm or None,
                "parallel": one.rate.parallel or None,
                "budget_usd": money.usd(one.budget.limit_nano_usd) if one.budget else None,
                "budget_period": one.budget.period if one.budget else None,
                "spent_usd": key_schemas.shown_spending(spent[one.name]),
            }
            for one in caller.subjects
        ],
    }
