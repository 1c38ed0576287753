"""Routes for callers with a key, each request of which needs a slot among those that run at once."""

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send

from services.gateway.keys.authenticator import Authenticator
from services.gateway.keys.permissions import Caller
from services.gateway.limits.concurrency import ConcurrencyLimiter
from services.gateway.rest.requests import bearer


def inference_route(keys: Authenticator, limiter: ConcurrencyLimiter) -> type[APIRoute]:
    """The class of routes that authenticate, then wait for a slot, before anything of the body is read.

    The slot is held until the answer is sent, to the end of its stream.
    """

    class InferenceRoute(APIRoute):
        async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
            if scope["method"] not in (self.methods or ()):
                # Nothing to wait for: the answer is 405.
                await super().handle(scope, receive, send)
                return
            request = Request(scope)
            request.state.caller = await keys.caller(bearer(request))
            async with limiter.slot(request.state.caller):
                await super().handle(scope, receive, send)

    return InferenceRoute


def caller(request: Request) -> Caller:
    """Who sent a request to such a route."""
    found: Caller = request.state.caller
    return found
