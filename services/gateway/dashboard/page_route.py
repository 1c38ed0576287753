"""The class of routes that only somebody who signed in sees."""

from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.routing import APIRoute

from services.chassis import errors, status
from services.gateway.dashboard.forms import Form, read_form
from services.gateway.dashboard.pages import HEADERS, HOME, Pages, redirect
from services.gateway.dashboard.session import Session, Sessions

COOKIE = "lumni_session"
SIGN_IN = f"{HOME}/sign-in"
# What the script sends with what it asks for by itself: a sign-in page in the middle of another would be of no use.
FRAGMENT = "x-lumni-fragment"


def page_route(sessions: Sessions, pages: Pages, *, admins_only: bool = False) -> type[APIRoute]:
    """The class of routes for all who signed in, or for admins.

    Who asks is looked at first. Whatever changes something is a POST whose form carries the session's token. What goes
    wrong becomes a page that says so.
    """

    class PageRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()

            async def handle_for_session(request: Request) -> Response:
                session = sessions.read(request.cookies.get(COOKIE, ""))
                if session is None:
                    return _to_sign_in(request)
                request.state.session = session
                try:
                    if admins_only and not session.is_admin:
                        raise errors.Forbidden("this page needs the admin key", reason="ADMIN_ONLY")
                    if request.method == "POST":
                        request.state.form = await _form(request, session)
                    return await handle(request)
                except errors.Fault as fault:
                    code, headers = status.to_http_head(fault)
                    answer = await pages.page(request, "error.html", code, code=code, message=fault.message)
                    answer.headers.update(headers)
                    return answer

            return handle_for_session

    return PageRoute


async def _form(request: Request, session: Session) -> Form:
    """The form that a session sent.

    Raises:
        Forbidden: it does not carry the session's token.
        Invalid: it is no form of ours.
    """
    form = await read_form(request)
    if not session.sent(form.get("csrf", "")):
        raise errors.Forbidden(
            "this form is not of your session; load the page again and send it from there",
            reason="WRONG_TOKEN",
        )
    return form


def _to_sign_in(request: Request) -> Response:
    if FRAGMENT in request.headers or request.method != "GET":
        return Response(status_code=401, headers=dict(HEADERS))
    path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return redirect(f"{SIGN_IN}?next={quote(path, safe='')}")
