"""The way to the provider and back.

What belongs to one sign-in waits in a cookie that only this installation can read: a code that comes back without it
was asked for by another browser.
"""

import hmac
import logging
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from cryptography.fernet import InvalidToken
from fastapi import APIRouter, Request, Response

from services.chassis import errors, status
from services.gateway.dashboard.oidc import roles
from services.gateway.dashboard.oidc.provider import CALLBACK, Provider
from services.gateway.dashboard.oidc.settings import Settings
from services.gateway.dashboard.page_route import COOKIE
from services.gateway.dashboard.pages import HOME, Pages, redirect
from services.gateway.dashboard.session import Sessions
from services.gateway.dashboard.sign_in_limit import SignInLimit
from services.gateway.dashboard.sign_in_page import SignInPage, delete_cookie, own, set_cookie

log = logging.getLogger(__name__)

BEGUN_COOKIE = "lumni_oidc"
PURPOSE = b"lumni dashboard sign-in of a provider v1"
# How long somebody may take at the provider, in seconds.
BEGUN_S = 600
# Bytes of chance in state, nonce and verifier.
CHANCE = 32
# Bytes of a cookie that browsers keep at least.
LONGEST = 4096
LONGEST_PATH = 1024
# What an error of the provider may be called.
ERROR = re.compile(r"[a-z_]{1,40}")


@dataclass(frozen=True, slots=True)
class Begun:
    """A sign-in that is under way at the provider."""

    state: str
    nonce: str
    verifier: str
    next_path: str


class SignIn:
    """Begins and ends sign-ins."""

    def __init__(
        self,
        provider: Provider,
        settings: Settings,
        sessions: Sessions,
        pages: Pages,
        page: SignInPage,
        limit: SignInLimit,
    ) -> None:
        """Put it together.

        Args:
            provider: Who signs people in.
            settings: Who is what.
            sessions: Makes the cookies of those who have signed in.
            pages: Makes the page that leads on.
            page: What is shown when it went wrong.
            limit: How often that may happen.
        """
        self._provider = provider
        self._settings = settings
        self._sessions = sessions
        self._pages = pages
        self._page = page
        self._limit = limit
        self._box = sessions.provider_box(PURPOSE)

    async def begin(self, request: Request) -> Response:
        """Send the browser to the provider."""
        next_path = own(request.query_params.get("next", "")[:LONGEST_PATH])
        state, nonce, verifier = (secrets.token_urlsafe(CHANCE) for _ in range(3))
        begun = Begun(state, nonce, verifier, next_path)
        try:
            address = await self._provider.address(
                state=begun.state, nonce=begun.nonce, verifier=begun.verifier
            )
        except errors.Unavailable as fault:
            return await self._page.answer(request, next_path, fault.message, 503)
        answer = redirect(address)
        cookie = self._box.encrypt(orjson.dumps(begun)).decode()
        # Sent along when the provider, which is another site, leads back.
        set_cookie(request, answer, BEGUN_COOKIE, cookie, BEGUN_S, same_site="lax")
        return answer

    async def end(self, request: Request) -> Response:
        """Sign somebody in who comes back."""
        address = request.client.host if request.client else ""
        if wait_s := self._limit.wait_s(address):
            return await self._page.wait(request, wait_s)
        begun = self._begun(request)
        if begun is None:
            # Any website can lead a browser here: that is nobody's attempt, and the one under way may still end.
            message = "This sign-in was not begun in this browser within the last ten minutes; begin again."
            return await self._page.answer(request, HOME, message, 403)
        try:
            claims = await self._claims(request.query_params, begun)
            role = roles.role(claims, self._settings)
            name = roles.name(claims)
            if role is None:
                raise errors.Forbidden(
                    f"{name} has signed in at {self._settings.host}, but has no role here: the claim "
                    f"{self._settings.role_claim} has no value of LUMNI_OIDC_ADMINS or LUMNI_OIDC_VIEWERS."
                )
        except (errors.Forbidden, errors.Unavailable) as fault:
            # An outage of the provider is not the browser's fault.
            if isinstance(fault, errors.Forbidden):
                self._limit.failed(address)
            answer = await self._page.answer(
                request, begun.next_path, fault.message, status.to_http_head(fault)[0]
            )
        else:
            log.info("the OpenID provider has signed somebody in as %s", role)
            # No redirect: the browser would take it for the provider's and keep the session's cookie back.
            answer = await self._pages.page(request, "signed_in.html", who=name, next_path=begun.next_path)
            cookie = self._sessions.cookie(self._sessions.of_provider(role, name))
            set_cookie(request, answer, COOKIE, cookie, self._sessions.lasts_s)
        delete_cookie(answer, BEGUN_COOKIE)
        return answer

    async def _claims(self, said: Mapping[str, str], begun: Begun) -> Mapping[str, Any]:
        """What the provider says of who comes back with the parameters `said`.

        Raises:
            Forbidden: the provider says no.
            Unavailable: the provider does not answer.
        """
        if said.get("iss", self._settings.issuer) != self._settings.issuer:
            raise errors.Forbidden("This answer is from another provider; begin again.")
        if "code" not in said:
            why = said.get("error", "")
            named = why if ERROR.fullmatch(why) else "for no reason that it names"
            raise errors.Forbidden(f"{self._settings.host} has signed nobody in: {named}.")
        return await self._provider.claims(code=said["code"], nonce=begun.nonce, verifier=begun.verifier)

    def _begun(self, request: Request) -> Begun | None:
        """The sign-in that the provider's answer belongs to; None where this browser has not begun it."""
        cookie = request.cookies.get(BEGUN_COOKIE, "")
        if not cookie or len(cookie) > LONGEST:
            return None
        try:
            begun = Begun(**orjson.loads(self._box.decrypt(cookie.encode(), BEGUN_S)))
        except (InvalidToken, ValueError):
            return None
        state = request.query_params.get("state", "")
        return begun if hmac.compare_digest(begun.state.encode(), state.encode()) else None


def router(sign_in: SignIn) -> APIRouter:
    """The two addresses."""
    routes = APIRouter()

    @routes.get(f"{HOME}/sign-in/oidc")
    async def begin(request: Request) -> Response:
        return await sign_in.begin(request)

    @routes.get(CALLBACK)
    async def end(request: Request) -> Response:
        return await sign_in.end(request)

    return routes
