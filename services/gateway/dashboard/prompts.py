"""Stored prompts: their versions and labels, and the system prompts that say them; for admins to read."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from services.gateway.config.live import Live
from services.gateway.dashboard.paged import ASKED, paged
from services.gateway.dashboard.pages import HOME, Pages
from services.gateway.keys.audit import AuditTrail
from services.gateway.prompts import files
from services.gateway.prompts.reference import PRODUCTION, Reference
from services.gateway.prompts.store import PromptStore
from services.gateway.prompts.system_prompts import Configured

# Versions and events of one prompt.
VERSIONS = 50
EVENTS = 20


def router(
    pages: Pages,
    store: PromptStore,
    rules: Live[Configured],
    audit: AuditTrail,
    admin_route: type[APIRoute],
) -> APIRouter:
    """The list of prompts, and the page of one; `rules` are the system prompts that stored prompts say."""
    routes = APIRouter(prefix=HOME, route_class=admin_route)

    @routes.get("/prompts")
    async def listed(request: Request) -> Response:
        after = request.query_params.get("after", "")
        found = await store.find(organization_id=None, everywhere=True, after=after, limit=ASKED)
        rows, last = paged(found)
        return await pages.page(
            request,
            "prompts.html",
            rows=[{**row, "rules": _rules(rules.current, row)} for row in rows],
            following=last["prompt_id"] if last else "",
        )

    @routes.get("/prompts/{prompt_id}")
    async def one(request: Request, prompt_id: str) -> Response:
        row = await store.get(prompt_id)
        which = request.query_params.get("version", PRODUCTION)
        number = Reference(row["name"], which).version(row["labels"], row["newest"])
        found = await store.version(row["prompt_id"], number)
        labels: dict[int, list[str]] = {}
        for label, version in sorted(row["labels"].items()):
            labels.setdefault(version, []).append(label)
        return await pages.page(
            request,
            "prompt.html",
            prompt=row,
            version=found,
            text=files.write({}, found["content"]),
            labels=labels,
            history=await store.versions(row["prompt_id"], row["newest"] + 1, VERSIONS),
            rules=_rules(rules.current, row),
            events=await audit.newest(f"prompt:{row['prompt_id']}", EVENTS),
        )

    return routes


def _rules(rules: Configured, row: Mapping[str, Any]) -> list[str]:
    """The system prompts that a prompt says, and by which of its versions."""
    return [f"{name} ({one.which})" for name, one in rules.naming(row).items()]
