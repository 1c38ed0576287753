"""Routes for admins."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute
from starlette.types import Message

from services.chassis import json_bounds
from services.gateway.keys.authenticator import Authenticator
from services.gateway.rest import client_dialects
from services.gateway.rest.requests import read_short


def _actor(request: Request) -> str:
    return str(request.state.actor)


# The key of the admin who calls, for the audit trail.
Actor = Annotated[str, Depends(_actor)]


def admin_route(keys: Authenticator) -> type[APIRoute]:
    """The class of routes that only an admin's key opens.

    The key is checked before the request is validated, so that a stranger learns nothing of what is valid; and the
    body is read within bounds.
    """

    class AdminRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()

            async def handle_for_admin(request: Request) -> Response:
                request.state.actor = (await keys.admin(client_dialects.key(request.scope))).key_id
                body = await read_short(request.receive)
                json_bounds.check(body)

                async def again() -> Message:
                    return {"type": "http.request", "body": body, "more_body": False}

                return await handle(Request(request.scope, again))

            return handle_for_admin

    return AdminRoute
