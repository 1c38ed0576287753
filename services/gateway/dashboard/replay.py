"""A replay: what requests of the past would have cost by another share or another lumni.yaml; for admins alone."""

from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from services.chassis import errors, status
from services.gateway.config.live import Live
from services.gateway.config.plans import Plans
from services.gateway.dashboard.forms import Form
from services.gateway.dashboard.pages import HOME, Pages
from services.gateway.replays.configuration import Wanted
from services.gateway.replays.replay import LONGEST, Replays
from services.gateway.reports.time_range import time_range

MOST_DAYS = LONGEST.days
# What the form holds before anybody fills it in; an empty share is that of the configuration, an empty version that of
# then.
UNASKED = {"days": "7", "plan": "", "powerful_share": "", "classifier_version": "", "lumni_yaml": ""}
# How the sums are grouped, as the page shows them.
GROUPS = ("category", "plan", "day")


def router(pages: Pages, replays: Replays, plans: Live[Plans], admin_route: type[APIRoute]) -> APIRouter:
    """The form, and what a replay says."""
    routes = APIRouter(prefix=HOME, route_class=admin_route)

    async def shown(
        request: Request, form: Form, *, found: Any = None, message: str = "", code: int = 200
    ) -> Response:
        return await pages.page(
            request,
            "replay.html",
            code,
            form={**UNASKED, **form},
            most_days=MOST_DAYS,
            plans=sorted(plans.current.by_name),
            groups=GROUPS,
            found=found,
            message=message,
        )

    @routes.get("/replay")
    async def asked(request: Request) -> Response:
        return await shown(request, {})

    @routes.post("/replay")
    async def replay(request: Request) -> Response:
        form: Form = request.state.form
        try:
            days, share = _days(form), _share(form)
            now = datetime.now(UTC)
            times = time_range(now - timedelta(days=days), now)
            wanted = Wanted(
                lumni_yaml=form.get("lumni_yaml", ""),
                powerful_share=share,
                classifier_version=form.get("classifier_version", "").strip(),
            )
            found = await replays.compare(times, wanted, form.get("plan", ""))
        except errors.Fault as fault:
            return await shown(request, form, message=fault.message, code=status.to_http_head(fault)[0])
        return await shown(request, form, found=found.shown())

    return routes


def _days(form: Form) -> int:
    text = form.get("days", "")
    days = int(text) if text.isascii() and text.isdecimal() and len(text) < 4 else 0
    if not 1 <= days <= MOST_DAYS:
        raise errors.Invalid(f"days: expected a whole number from 1 to {MOST_DAYS}", param="days")
    return days


def _share(form: Form) -> float | None:
    text = form.get("powerful_share", "")
    if not text:
        return None
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise errors.Invalid(
            "powerful_share: expected a number from 0 to 1, or nothing", param="powerful_share"
        )
    return share
