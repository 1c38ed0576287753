"""Keys: made, shown, limited and revoked, by admins alone."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from services.chassis import errors
from services.gateway.config.budgets import Period
from services.gateway.config.live import Live
from services.gateway.config.plans import Plans
from services.gateway.dashboard import formats
from services.gateway.dashboard.forms import Form
from services.gateway.dashboard.paged import ASKED, paged
from services.gateway.dashboard.pages import HOME, Pages, redirect
from services.gateway.keys.audit import AuditTrail
from services.gateway.keys.store import KeyStore
from services.gateway.reports.usage import UsageReports
from services.gateway.rest import key_schemas

LIST = f"{HOME}/keys"
# Keys on one page, and events of one key.
EVENTS = 20
# What a form may say of a key, by the names of the REST API.
TEXTS = (
    "user_id",
    "organization_id",
    "plan",
    "rpm_limit",
    "tpm_limit",
    "parallel_limit",
    "budget_usd",
    "powerful_share",
    "store_prompts",
)
# Of these, what a change may take away again: then it is the plan's.
OPTIONAL = (
    "rpm_limit",
    "tpm_limit",
    "parallel_limit",
    "budget_usd",
    "powerful_share",
    "store_prompts",
    "expires_at",
)
# For how long the earlier secret of a key may work on, in seconds.
GRACES_S = {"a day": 86_400, "a week": 604_800, "an hour": 3600, "no time": 0}
DATE = 10


def router(
    pages: Pages,
    keys: KeyStore,
    audit: AuditTrail,
    used: UsageReports,
    plans: Live[Plans],
    admin_route: type[APIRoute],
) -> APIRouter:
    """The list of keys, the page of one, and what changes them."""
    routes = APIRouter(prefix=HOME, route_class=admin_route)

    async def list_page(
        request: Request, *, form: Mapping[str, str] | None = None, message: str = "", code: int = 200
    ) -> Response:
        asked = {name: request.query_params.get(name, "").strip() for name in ("user_id", "organization_id")}
        found = await keys.find(
            user_id=asked["user_id"] or None,
            organization_id=asked["organization_id"] or None,
            after=request.query_params.get("after", ""),
            limit=ASKED,
        )
        rows, last = paged(found)
        return await pages.page(
            request,
            "keys.html",
            code,
            rows=[key_schemas.shown_key(row) for row in rows],
            following=last["key_id"] if last else "",
            asked=asked,
            form=form or {"plan": plans.current.default.name},
            plans=sorted(plans.current.by_name),
            message=message,
            budget_periods=list(Period),
        )

    async def key_page(
        request: Request,
        key_id: str,
        *,
        form: Mapping[str, str] | None = None,
        message: str = "",
        code: int = 200,
    ) -> Response:
        row = await keys.get(key_id)
        subject = f"key:{key_id}"
        return await pages.page(
            request,
            "key.html",
            code,
            key=key_schemas.shown_key(row),
            budget_nano_usd=row["budget_nano_usd"],
            spent_nano_usd=(await used.spent([subject]))[subject],
            events=await audit.newest(subject, EVENTS),
            form=form or _filled(row),
            plans=sorted(plans.current.by_name),
            message=message,
            budget_periods=list(Period),
            graces_s=GRACES_S,
        )

    @routes.get("/keys")
    async def listed(request: Request) -> Response:
        return await list_page(request)

    @routes.post("/keys")
    async def create(request: Request) -> Response:
        form: Form = request.state.form
        try:
            made = await keys.create(request.state.session.actor, key_schemas.columns(_fields(form)))
        except errors.Invalid as fault:
            return await list_page(request, form=form, message=fault.message, code=400)
        # Not redirected: the secret is in this answer and nowhere else.
        return await pages.page(
            request, "key_made.html", 201, key=made, title="The key is made", earlier_until=None
        )

    @routes.get("/keys/{key_id}")
    async def one(request: Request, key_id: str) -> Response:
        return await key_page(request, key_id)

    @routes.post("/keys/{key_id}")
    async def change(request: Request, key_id: str) -> Response:
        form: Form = request.state.form
        shown = _expiry(await keys.get(key_id))
        # A day says less than the moment it stands for, which stays unless another day was chosen.
        sent = {name: text for name, text in form.items() if name != "expires_at" or text != shown}
        try:
            await keys.change(
                request.state.session.actor, key_id, key_schemas.given_columns(_fields(sent, keep_empty=True))
            )
        except errors.Invalid as fault:
            return await key_page(request, key_id, form=form, message=fault.message, code=400)
        return redirect(f"{LIST}/{key_id}")

    @routes.post("/keys/{key_id}/rotate")
    async def rotate(request: Request, key_id: str) -> Response:
        try:
            how = key_schemas.validated(key_schemas.Rotation, {"grace_s": request.state.form.get("grace_s")})
            made = await keys.rotate(
                request.state.session.actor, key_id, grace_s=how.grace_s, idempotency_key=None
            )
        except (errors.Invalid, errors.Conflict) as fault:
            return await key_page(request, key_id, message=fault.message, code=400)
        return await pages.page(
            request,
            "key_made.html",
            201,
            key=made,
            title="The new secret is made",
            earlier_until=made["old_valid_until"],
        )

    @routes.post("/keys/{key_id}/reset-limits")
    async def reset_limits(request: Request, key_id: str) -> Response:
        await keys.reset_limits(request.state.session.actor, key_id)
        return redirect(f"{LIST}/{key_id}")

    @routes.post("/keys/{key_id}/revoke")
    async def revoke(request: Request, key_id: str) -> Response:
        await keys.revoke(request.state.session.actor, key_id)
        return redirect(f"{LIST}/{key_id}")

    return routes


def _fields(form: Form, *, keep_empty: bool = False) -> key_schemas.KeyFields:
    """The fields of a form, checked as those of a REST body.

    Args:
        form: What was sent.
        keep_empty: Whether a field that is left empty takes away what there was; else it is as if not sent.

    Raises:
        Invalid: names the first field that makes no sense.
    """
    values: dict[str, Any] = {name: form[name] for name in TEXTS if form.get(name)}
    if "models" in form:
        values["models"] = [name for part in form["models"].split(",") if (name := part.strip())]
    if form.get("budget_period"):
        values["budget_period"] = form["budget_period"]
    if expires := form.get("expires_at"):
        # A day, as the browser's field gives it: the key is good until it is over.
        values["expires_at"] = f"{expires}T23:59:59Z" if len(expires) == DATE else expires
    if keep_empty:
        values |= {name: None for name in OPTIONAL if name in form and not form[name]}
    return key_schemas.validated(key_schemas.KeyFields, values)


def _filled(row: Mapping[str, Any]) -> dict[str, str]:
    """What the form that changes a key says before anybody touches it."""
    budget: int | None = row["budget_nano_usd"]
    return {
        "plan": row["plan"],
        "models": ", ".join(row["models"]),
        "budget_usd": "" if budget is None else formats.plain_usd(budget),
        "budget_period": row["budget_period"],
        "expires_at": _expiry(row),
        **{
            name: "" if row[name] is None else str(row[name])
            for name in ("rpm_limit", "tpm_limit", "parallel_limit", "powerful_share")
        },
        # Only a key that says no differs from its plan.
        "store_prompts": "false" if row["store_prompts"] is False else "",
    }


def _expiry(row: Mapping[str, Any]) -> str:
    """The day on which a key expires, as the browser's field wants it; empty when it does not."""
    expires: datetime | None = row["expires_at"]
    return f"{expires.astimezone(UTC):%Y-%m-%d}" if expires else ""
