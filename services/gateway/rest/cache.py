"""The admin route over the response cache."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from services.chassis.errors import NotFound
from services.gateway.cache.response_cache import ResponseCache
from services.gateway.keys.audit import AuditTrail
from services.gateway.keys.authenticator import Authenticator
from services.gateway.rest.admin_route import Actor, admin_route
from services.gateway.rest.json_answers import JsonResponse

# Whose answers: an organization's, a user's without one, or a key's without either.
Tenant = Annotated[str | None, Query(pattern="^(organization|user|key):.", max_length=300)]


def router(keys: Authenticator, audit: AuditTrail, cache: ResponseCache | None) -> APIRouter:
    """The route that purges cached answers; without a cache there is nothing to purge."""
    routes = APIRouter(prefix="/admin/cache", route_class=admin_route(keys))

    @routes.delete("")
    async def purge(who: Actor, tenant: Tenant = None) -> Response:
        if cache is None:
            raise NotFound("no answers are cached here, as LUMNI_CACHE_KEY is not set")
        purged = await cache.purge(tenant)
        await audit.record(who, "cache.purge", tenant or "all", {"purged": purged})
        return JsonResponse({"tenant": tenant, "purged": purged})

    return routes
