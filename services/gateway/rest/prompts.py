"""The admin routes over the prompt store."""

import asyncio
import difflib
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from services.gateway.keys.authenticator import Authenticator
from services.gateway.prompts import content, files, reference
from services.gateway.prompts.content import Content, Kind
from services.gateway.prompts.reference import PRODUCTION, Reference
from services.gateway.prompts.store import PromptStore
from services.gateway.requests import chat_request
from services.gateway.rest.admin_route import Actor, admin_route
from services.gateway.rest.json_answers import JsonResponse
from services.gateway.rest.key_schemas import Ident

# A prompt by its id, or by its name beside `organization_id`, which is left out for a prompt of everybody.
Prompt = Annotated[str, Path(max_length=128)]
Label = Annotated[str, Path(max_length=64)]
Organization = Annotated[str | None, Query(max_length=128)]
Version = Annotated[int, Field(ge=1, le=reference.LARGEST_VERSION)]
# That a change was decided upon; it grows with each.
Revision = Annotated[int, Field(ge=1, le=2**63 - 1)]
SeenRevision = Annotated[int, Query(ge=1, le=2**63 - 1)]
# Lines around a difference.
CONTEXT = 3


class _Fields(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewVersion(_Fields):
    """A version of a prompt; `content` is described in docs/prompts.md."""

    content: dict[str, JsonValue]
    note: Annotated[str, Field(max_length=1000)] = ""


class NewPrompt(NewVersion):
    """A prompt with its first version."""

    name: str
    kind: Kind = Kind.PROMPT
    organization_id: Ident | None = None


class FurtherVersion(NewVersion):
    """A version after others."""

    revision: Revision
    label: str = ""


class LabelMove(_Fields):
    """Which version gets a label."""

    version: Version
    revision: Revision


class RollBack(_Fields):
    """Which label goes back to the version that had it before."""

    revision: Revision
    label: str = PRODUCTION


def router(keys: Authenticator, store: PromptStore) -> APIRouter:
    """The routes below /admin/prompts."""
    routes = APIRouter(prefix="/admin/prompts", route_class=admin_route(keys))
    _reading(routes, store)
    _changing(routes, store)
    return routes


def _reading(routes: APIRouter, store: PromptStore) -> None:
    @routes.get("")
    async def find(
        organization_id: Organization = None,
        everywhere: bool = False,
        after: str = "",
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> Response:
        rows = await store.find(
            organization_id=organization_id, everywhere=everywhere, after=after, limit=limit
        )
        following = rows[-1]["prompt_id"] if len(rows) == limit else None
        return JsonResponse({"object": "list", "data": [_shown(row) for row in rows], "after": following})

    @routes.get("/{prompt}")
    async def get(prompt: Prompt, organization_id: Organization = None) -> Response:
        return JsonResponse(_shown(await store.get(prompt, organization_id)))

    @routes.get("/{prompt}/versions")
    async def versions(
        prompt: Prompt,
        organization_id: Organization = None,
        before: Annotated[int, Query(ge=1, le=reference.LARGEST_VERSION)] = reference.LARGEST_VERSION,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> Response:
        row = await store.get(prompt, organization_id)
        found = await store.versions(row["prompt_id"], before, limit)
        following = found[-1]["version"] if len(found) == limit else None
        return JsonResponse({"object": "list", "data": found, "before": following})

    @routes.get("/{prompt}/versions/{which}")
    async def version(
        prompt: Prompt, which: Annotated[str, Path(max_length=64)], organization_id: Organization = None
    ) -> Response:
        _, found = await _version(store, prompt, organization_id, which)
        return JsonResponse({"object": "prompt.version", **found})

    @routes.get("/{prompt}/diff")
    async def diff(
        prompt: Prompt,
        older: Annotated[str, Query(alias="from", max_length=64)],
        newer: Annotated[str, Query(alias="to", max_length=64)] = reference.LATEST,
        organization_id: Organization = None,
    ) -> Response:
        row, first = await _version(store, prompt, organization_id, older)
        _, second = await _version(store, prompt, organization_id, newer)
        # Of long versions it may take a while.
        text = await asyncio.to_thread(_difference, row["name"], first, second)
        return JsonResponse(
            {"object": "prompt.diff", "from": first["version"], "to": second["version"], "diff": text}
        )


def _changing(routes: APIRouter, store: PromptStore) -> None:
    @routes.post("", status_code=201)
    async def create(fields: NewPrompt, who: Actor) -> Response:
        row = await store.create(
            who,
            name=fields.name,
            kind=fields.kind,
            content=checked(fields.content, fields.kind),
            organization_id=fields.organization_id,
            note=fields.note,
        )
        return JsonResponse(_shown(row), 201)

    @routes.post("/{prompt}/versions", status_code=201)
    async def add_version(
        prompt: Prompt, fields: FurtherVersion, who: Actor, organization_id: Organization = None
    ) -> Response:
        row = await store.get(prompt, organization_id)
        said = checked(fields.content, Kind(row["kind"]))
        changed = await store.add_version(
            who, row["prompt_id"], fields.revision, said, note=fields.note, label=fields.label
        )
        return JsonResponse(_shown(changed), 201)

    @routes.put("/{prompt}/labels/{label}")
    async def set_label(
        prompt: Prompt, label: Label, fields: LabelMove, who: Actor, organization_id: Organization = None
    ) -> Response:
        ident = (await store.get(prompt, organization_id))["prompt_id"]
        return JsonResponse(_shown(await store.set_label(who, ident, fields.revision, label, fields.version)))

    @routes.delete("/{prompt}/labels/{label}")
    async def remove_label(
        prompt: Prompt, label: Label, revision: SeenRevision, who: Actor, organization_id: Organization = None
    ) -> Response:
        ident = (await store.get(prompt, organization_id))["prompt_id"]
        return JsonResponse(_shown(await store.remove_label(who, ident, revision, label)))

    @routes.post("/{prompt}/roll-back")
    async def roll_back(
        prompt: Prompt, fields: RollBack, who: Actor, organization_id: Organization = None
    ) -> Response:
        ident = (await store.get(prompt, organization_id))["prompt_id"]
        return JsonResponse(_shown(await store.roll_back(who, ident, fields.revision, fields.label)))

    @routes.delete("/{prompt}")
    async def delete(
        prompt: Prompt, revision: SeenRevision, who: Actor, organization_id: Organization = None
    ) -> Response:
        row = await store.get(prompt, organization_id)
        await store.delete(who, row["prompt_id"], revision)
        return JsonResponse({"object": "prompt", "prompt_id": row["prompt_id"], "deleted": True})


def checked(given: dict[str, Any], kind: Kind) -> Content:
    """A version that makes a template, and with its templates as they stand a chat request.

    Raises:
        Invalid: names the field and what is expected there.
    """
    said = content.parse(given, kind)
    if kind is Kind.PROMPT:
        body = {name: value for name, value in given.items() if name not in ("parameters", "variables")}
        chat_request.parse(orjson.dumps(given.get("parameters", {}) | body))
    return said


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return {"object": "prompt", **row}


async def _version(
    store: PromptStore, prompt: str, organization_id: str | None, which: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A prompt, and the version that a number, a label or `latest` means."""
    row = await store.get(prompt, organization_id)
    number = Reference(row["name"], which).version(row["labels"], row["newest"])
    return row, await store.version(row["prompt_id"], number)


def _difference(name: str, first: dict[str, Any], second: dict[str, Any]) -> str:
    """A unified difference of two versions as files."""
    before, after = (files.write({}, one["content"]).splitlines() for one in (first, second))
    older, newer = (f"{name}@{one['version']}" for one in (first, second))
    return "\n".join(difflib.unified_diff(before, after, older, newer, n=CONTEXT, lineterm=""))
