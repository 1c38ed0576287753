"""Everything below /dashboard, put together."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import APIRouter, Response

from services.chassis import errors
from services.gateway.config.live import Live
from services.gateway.config.plans import Plans
from services.gateway.dashboard import (
    assets,
    experiments,
    keys,
    models,
    overview,
    playground,
    prompts,
    replay,
    requests,
    sign_in,
    spend,
)
from services.gateway.dashboard.models import FleetReports
from services.gateway.dashboard.oidc.settings import Settings as OidcSettings
from services.gateway.dashboard.overview import Numbers
from services.gateway.dashboard.page_route import page_route
from services.gateway.dashboard.pages import HOME, Pages
from services.gateway.dashboard.playground import Playground
from services.gateway.dashboard.session import Sessions
from services.gateway.dashboard.sign_in_limit import SignInLimit
from services.gateway.dashboard.sign_in_page import SignInPage
from services.gateway.experiments.results import ExperimentResults
from services.gateway.experiments.store import ExperimentStore
from services.gateway.keys.audit import AuditTrail
from services.gateway.keys.store import KeyStore
from services.gateway.prompts.store import PromptStore
from services.gateway.prompts.system_prompts import Configured
from services.gateway.recording.text_store import TextStore
from services.gateway.replays.replay import Replays
from services.gateway.reports.requests import RequestReports
from services.gateway.reports.usage import UsageReports

if TYPE_CHECKING:
    from services.gateway.dashboard.oidc.provider import Provider

# An address has its text's version in it, so the text behind it never changes.
FOREVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class Sources:
    """What the pages show and change."""

    used: UsageReports
    requests: RequestReports
    # None where no prompts and answers are kept.
    texts: TextStore | None
    fleet: FleetReports
    keys: KeyStore
    audit: AuditTrail
    plans: Live[Plans]
    playground: Playground
    prompts: PromptStore
    # The system prompts that stored prompts say.
    rules: Live[Configured]
    experiments: ExperimentStore
    results: ExperimentResults
    replays: Replays


@dataclass(frozen=True, slots=True)
class Oidc:
    """A provider of OpenID Connect, and who of its users is what."""

    provider: "Provider"
    settings: OidcSettings


def router(sessions: Sessions, sources: Sources, *, oidc: Oidc | None = None) -> APIRouter:
    """All pages; `oidc` is who else signs people in."""
    files = assets.load()
    pages = Pages(files)
    for_all = page_route(sessions, pages)
    for_admins = page_route(sessions, pages, admins_only=True)
    routes = APIRouter(include_in_schema=False)

    @routes.get(HOME + "/static/{version}/{name}")
    async def static(version: str, name: str) -> Response:
        found = files.get(name)
        if found is None or found.version != version:
            raise errors.NotFound("there is no such file; load the page again")
        headers = {"cache-control": FOREVER, "x-content-type-options": "nosniff"}
        return Response(found.body, media_type=found.kind, headers=headers)

    numbers = Numbers(sources.used, sources.requests)
    page, limit = SignInPage(pages, oidc.settings.host if oidc else ""), SignInLimit()
    routes.include_router(sign_in.router(sessions, page, limit, for_all))
    if oidc is not None:
        # What signs and checks tokens is loaded where there are any.
        from services.gateway.dashboard.oidc import routes as oidc_routes

        way = oidc_routes.SignIn(oidc.provider, oidc.settings, sessions, pages, page, limit)
        routes.include_router(oidc_routes.router(way))
    routes.include_router(overview.router(pages, numbers, for_all))
    routes.include_router(requests.router(pages, sources.requests, sources.texts, for_all))
    routes.include_router(models.router(pages, sources.fleet, for_all))
    routes.include_router(spend.router(pages, sources.used, for_all))
    routes.include_router(
        keys.router(pages, sources.keys, sources.audit, sources.used, sources.plans, for_admins)
    )
    routes.include_router(prompts.router(pages, sources.prompts, sources.rules, sources.audit, for_admins))
    routes.include_router(
        experiments.router(pages, sources.experiments, sources.results, sources.audit, for_admins)
    )
    routes.include_router(replay.router(pages, sources.replays, sources.plans, for_admins))
    routes.include_router(playground.router(pages, sources.playground, sources.fleet, for_admins))
    return routes
