"""The admin routes: keys, users, organizations, audit."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated

import orjson
from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import StreamingResponse

from services.gateway.cache.response_cache import ResponseCache
from services.gateway.keys.audit import AuditTrail
from services.gateway.keys.authenticator import Authenticator
from services.gateway.keys.erasure import PersonalData
from services.gateway.keys.owners import OwnerStore
from services.gateway.keys.store import KeyStore
from services.gateway.reports.usage import UsageReports
from services.gateway.rest import key_schemas
from services.gateway.rest.admin_route import Actor, admin_route
from services.gateway.rest.json_answers import JsonResponse


@dataclass(frozen=True, slots=True)
class Stores:
    """What admins read and change."""

    keys: KeyStore
    owners: OwnerStore
    audit: AuditTrail
    personal_data: PersonalData
    cache: ResponseCache | None


def router(keys: Authenticator, stores: Stores, used: UsageReports) -> APIRouter:
    """All routes below /admin that change or show who may call."""
    routes = APIRouter()
    routes.include_router(_keys(keys, stores, used))
    routes.include_router(_owners(keys, stores))
    return routes


def _keys(keys: Authenticator, stores: Stores, used: UsageReports) -> APIRouter:
    routes = APIRouter(prefix="/admin/keys", route_class=admin_route(keys))

    @routes.post("", status_code=201)
    async def create(fields: key_schemas.KeyFields, who: Actor) -> Response:
        return JsonResponse(
            key_schemas.shown_key(await stores.keys.create(who, key_schemas.columns(fields))), 201
        )

    @routes.get("")
    async def find(
        user_id: str | None = None,
        organization_id: str | None = None,
        plan: str | None = None,
        after: str = "",
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> Response:
        rows = await stores.keys.find(
            user_id=user_id, organization_id=organization_id, plan=plan, after=after, limit=limit
        )
        following = rows[-1]["key_id"] if len(rows) == limit else None
        return JsonResponse(
            {"object": "list", "data": [key_schemas.shown_key(row) for row in rows], "after": following}
        )

    @routes.get("/{key_id}")
    async def get(key_id: str) -> Response:
        row = await stores.keys.get(key_id)
        spent = await used.spent([f"key:{key_id}"])
        return JsonResponse(
            {**key_schemas.shown_key(row), "spent_usd": key_schemas.shown_spending(spent[f"key:{key_id}"])}
        )

    @routes.patch("/{key_id}")
    async def change(key_id: str, fields: key_schemas.KeyFields, who: Actor) -> Response:
        return JsonResponse(
            key_schemas.shown_key(await stores.keys.change(who, key_id, key_schemas.given_columns(fields)))
        )

    @routes.post("/{key_id}/rotate")
    async def rotate(
        key_id: str,
        who: Actor,
        how: key_schemas.Rotation | None = None,
        idempotency_key: Annotated[str | None, Header(max_length=256)] = None,
    ) -> Response:
        row = await stores.keys.rotate(
            who, key_id, grace_s=(how or key_schemas.Rotation()).grace_s, idempotency_key=idempotency_key
        )
        return JsonResponse({**key_schemas.shown_key(row), "old_valid_until": row["old_valid_until"]})

    @routes.post("/{key_id}/revoke")
    async def revoke(key_id: str, who: Actor) -> Response:
        return JsonResponse(key_schemas.shown_key(await stores.keys.revoke(who, key_id)))

    @routes.post("/{key_id}/reset-limits")
    async def reset_limits(key_id: str, who: Actor) -> Response:
        await stores.keys.reset_limits(who, key_id)
        return JsonResponse({"key_id": key_id, "reset": True})

    return routes


def _owners(keys: Authenticator, stores: Stores) -> APIRouter:
    routes = APIRouter(prefix="/admin", route_class=admin_route(keys))

    @routes.get("/key-secret")
    async def secret_progress() -> Response:
        return JsonResponse(await stores.keys.secret_progress())

    @routes.get("/users/{user_id}")
    async def get_user(user_id: str) -> Response:
        return JsonResponse(key_schemas.shown_owner(await stores.owners.get_user(user_id)))

    @routes.put("/users/{user_id}")
    async def put_user(user_id: key_schemas.PathIdent, fields: key_schemas.User, who: Actor) -> Response:
        return JsonResponse(
            key_schemas.shown_owner(
                await stores.owners.put_user(who, user_id, key_schemas.given_columns(fields))
            )
        )

    @routes.delete("/users/{user_id}")
    async def erase(user_id: key_schemas.PathIdent, who: Actor) -> Response:
        # First, so that a Redis that does not answer leaves something to erase again.
        if stores.cache is not None:
            await stores.cache.purge(f"user:{user_id}")
        pseudonym = await stores.personal_data.erase(who, user_id)
        # Until then the user's keys worked, and answers were kept.
        if stores.cache is not None:
            await stores.cache.purge(f"user:{user_id}")
        return JsonResponse({"user_id": user_id, "erased": True, "usage_kept_as": pseudonym})

    @routes.get("/users/{user_id}/export")
    async def export(user_id: str, who: Actor) -> Response:
        async def lines() -> AsyncIterator[bytes]:
            async for table, row in stores.personal_data.export(who, user_id):
                yield orjson.dumps({"table": table, **row}, default=str) + b"\n"

        return StreamingResponse(lines(), media_type="application/x-ndjson")

    @routes.patch("/users/{user_id}/keys")
    async def change_all(user_id: str, fields: key_schemas.KeyFields, who: Actor) -> Response:
        return JsonResponse(
            {
                "user_id": user_id,
                "changed": await stores.keys.change_all(who, user_id, key_schemas.given_columns(fields)),
            }
        )

    @routes.post("/users/{user_id}/keys/revoke")
    async def revoke_all(user_id: str, who: Actor) -> Response:
        return JsonResponse({"user_id": user_id, "revoked": await stores.keys.revoke_all(who, user_id)})

    @routes.get("/organizations/{organization_id}")
    async def get_organization(organization_id: str) -> Response:
        return JsonResponse(key_schemas.shown_owner(await stores.owners.get_organization(organization_id)))

    @routes.put("/organizations/{organization_id}")
    async def put_organization(
        organization_id: key_schemas.PathIdent, fields: key_schemas.Owner, who: Actor
    ) -> Response:
        return JsonResponse(
            key_schemas.shown_owner(
                await stores.owners.put_organization(who, organization_id, key_schemas.given_columns(fields))
            )
        )

    @routes.get("/audit")
    async def audit(
        subject: str | None = None, limit: Annotated[int, Query(ge=1, le=1000)] = 100
    ) -> Response:
        return JsonResponse({"object": "list", "data": await stores.audit.newest(subject, limit)})

    return routes
