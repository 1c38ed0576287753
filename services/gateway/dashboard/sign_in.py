"""Signing in with a key, and out."""

import hmac

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from services.chassis import errors, status
from services.gateway.dashboard.forms import read_form
from services.gateway.dashboard.page_route import COOKIE, SIGN_IN
from services.gateway.dashboard.pages import HOME, redirect
from services.gateway.dashboard.session import Sessions
from services.gateway.dashboard.sign_in_limit import SignInLimit
from services.gateway.dashboard.sign_in_page import TOKEN_COOKIE, SignInPage, delete_cookie, own, set_cookie


def router(
    sessions: Sessions, page: SignInPage, limit: SignInLimit, session_route: type[APIRoute]
) -> APIRouter:
    """The page that somebody sees who has not signed in, and the way out."""
    routes = APIRouter(prefix=HOME)

    @routes.get("/sign-in")
    async def show(request: Request) -> Response:
        if sessions.read(request.cookies.get(COOKIE, "")):
            return redirect(own(request.query_params.get("next", "")))
        return await page.answer(request, own(request.query_params.get("next", "")))

    @routes.post("/sign-in")
    async def sign_in(request: Request) -> Response:
        address = request.client.host if request.client else ""
        if wait_s := limit.wait_s(address):
            return await page.wait(request, wait_s)
        try:
            form = await read_form(request)
        except errors.Fault as fault:
            return await page.answer(request, HOME, fault.message, status.to_http_head(fault)[0])
        next_path = own(form.get("next", ""))
        expected = request.cookies.get(TOKEN_COOKIE, "")
        if not expected or not hmac.compare_digest(expected.encode(), form.get("csrf", "").encode()):
            message = "This form is too old, or your browser keeps no cookies; send it again."
            return await page.answer(request, next_path, message, 403)
        # Others may have failed while this form was read; from here to the count nothing else runs.
        if wait_s := limit.wait_s(address):
            return await page.wait(request, wait_s)
        session = sessions.open(form.get("key", ""))
        if session is None:
            limit.failed(address)
            message = "This is neither the admin key nor the viewer key."
            return await page.answer(request, next_path, message, 401)
        answer = redirect(next_path)
        set_cookie(request, answer, COOKIE, sessions.cookie(session), sessions.lasts_s)
        delete_cookie(answer, TOKEN_COOKIE)
        return answer

    leaving = APIRouter(route_class=session_route)

    @leaving.post("/sign-out")
    async def sign_out() -> Response:
        answer = redirect(SIGN_IN)
        delete_cookie(answer, COOKIE)
        return answer

    routes.include_router(leaving)
    return routes
