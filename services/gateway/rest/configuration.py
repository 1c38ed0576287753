"""The configuration that gateways serve: the version of each process, and what its files say."""

from fastapi import APIRouter, Response

from services.gateway.configuration import Configuration
from services.gateway.keys.authenticator import Authenticator
from services.gateway.peers.versions import PublishedVersions
from services.gateway.rest.admin_route import admin_route
from services.gateway.rest.json_answers import JsonResponse


def router(keys: Authenticator, configuration: Configuration, versions: PublishedVersions) -> APIRouter:
    """The routes below /admin/configuration."""
    routes = APIRouter(prefix="/admin/configuration", route_class=admin_route(keys))

    @routes.get("")
    async def served() -> Response:
        return JsonResponse({"version": configuration.version.current, "replicas": [*await versions.read()]})

    @routes.get("/facts")
    async def facts() -> Response:
        contents = configuration.contents
        return JsonResponse({"version": contents.version, "facts": contents.facts})

    return routes
