"""Signing in with a key, and out."""

import hmac
import secrets

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from services.chassis import errors, status
from services.gateway.dashboard.forms import read_form
from services.gateway.dashboard.page_route import COOKIE, SIGN_IN
from services.gateway.dashboard.pages import HOME, Pages, redirect
from services.gateway.dashboard.session import Sessions
from services.gateway.dashboard.sign_in_limit import SignInLimit

# Ties the form of the sign-in page to the browser that loaded it, so that no other site can sign anybody in.
TOKEN_COOKIE = "lumni_sign_in"  # noqa: S105
TOKEN = 24
# How long somebody may take to fill it in, in seconds.
TOKEN_S = 3600


def router(sessions: Sessions, pages: Pages, session_route: type[APIRoute]) -> APIRouter:
    """The pages that somebody sees who has not signed in, and the way out."""
    routes = APIRouter(prefix=HOME)
    limit = SignInLimit()

    async def form_page(
        request: Request, next_path: str, message: str = "", code: int = 200, wait_s: float = 0
    ) -> Response:
        token = secrets.token_urlsafe(TOKEN)
        answer = await pages.page(
            request, "sign_in.html", code, token=token, next_path=next_path, message=message
        )
        if wait_s:
            answer.headers["retry-after"] = str(int(wait_s) + 1)
        _set(request, answer, TOKEN_COOKIE, token, TOKEN_S)
        return answer

    async def wait_page(request: Request, wait_s: float) -> Response:
        message = f"Too many attempts; try again in {wait_s:.0f} s."
        return await form_page(request, HOME, message, 429, wait_s)

    @routes.get("/sign-in")
    async def show(request: Request) -> Response:
        if sessions.read(request.cookies.get(COOKIE, "")):
            return redirect(_own(request.query_params.get("next", "")))
        return await form_page(request, _own(request.query_params.get("next", "")))

    @routes.post("/sign-in")
    async def sign_in(request: Request) -> Response:
        address = request.client.host if request.client else ""
        if wait_s := limit.wait_s(address):
            return await wait_page(request, wait_s)
        try:
            form = await read_form(request)
        except errors.Fault as fault:
            return await form_page(request, HOME, fault.message, status.to_http_head(fault)[0])
        next_path = _own(form.get("next", ""))
        expected = request.cookies.get(TOKEN_COOKIE, "")
        if not expected or not hmac.compare_digest(expected.encode(), form.get("csrf", "").encode()):
            message = "This form is too old, or your browser keeps no cookies; send it again."
            return await form_page(request, next_path, message, 403)
        # Others may have failed while this form was read; from here to the count nothing else runs.
        if wait_s := limit.wait_s(address):
            return await wait_page(request, wait_s)
        session = sessions.open(form.get("key", ""))
        if session is None:
            limit.failed(address)
            message = "This is neither the admin key nor the viewer key."
            return await form_page(request, next_path, message, 401)
        answer = redirect(next_path)
        _set(request, answer, COOKIE, sessions.cookie(session), sessions.lasts_s)
        _delete(answer, TOKEN_COOKIE)
        return answer

    leaving = APIRouter(route_class=session_route)

    @leaving.post("/sign-out")
    async def sign_out() -> Response:
        answer = redirect(SIGN_IN)
        _delete(answer, COOKIE)
        return answer

    routes.include_router(leaving)
    return routes


def _own(path: str) -> str:
    """A path of ours; anything else would lead away from here."""
    own = path == HOME or path.startswith((f"{HOME}/", f"{HOME}?"))
    return path if own and "\\" not in path and path.isprintable() else HOME


def _set(request: Request, answer: Response, name: str, value: str, lasts_s: int) -> None:
    answer.set_cookie(
        name,
        value,
        max_age=lasts_s,
        path=HOME,
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )


def _delete(answer: Response, name: str) -> None:
    answer.delete_cookie(name, path=HOME, httponly=True, samesite="strict")
