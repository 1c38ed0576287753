"""The page of somebody who has not signed in, and the cookies of signing in."""

import secrets
from typing import Literal

from fastapi import Request, Response

from services.gateway.dashboard.pages import HOME, Pages

# Ties the form of the page to the browser that loaded it, so that no other site can sign anybody in.
TOKEN_COOKIE = "lumni_sign_in"  # noqa: S105
TOKEN = 24
# How long somebody may take to fill it in, in seconds.
TOKEN_S = 3600


class SignInPage:
    """Makes the page."""

    def __init__(self, pages: Pages, provider: str) -> None:
        """Make it of `pages`; `provider` is who else signs people in, empty for nobody."""
        self._pages = pages
        self._provider = provider

    async def answer(
        self, request: Request, next_path: str, message: str = "", code: int = 200, wait_s: float = 0
    ) -> Response:
        """The page with what went wrong, if anything did, and when to try again."""
        token = secrets.token_urlsafe(TOKEN)
        answer = await self._pages.page(
            request,
            "sign_in.html",
            code,
            token=token,
            next_path=next_path,
            message=message,
            provider=self._provider,
        )
        if wait_s:
            answer.headers["retry-after"] = str(int(wait_s) + 1)
        set_cookie(request, answer, TOKEN_COOKIE, token, TOKEN_S)
        return answer

    async def wait(self, request: Request, wait_s: float) -> Response:
        """The page of somebody who has tried too often."""
        return await self.answer(
            request, HOME, f"Too many attempts; try again in {wait_s:.0f} s.", 429, wait_s
        )


def own(path: str) -> str:
    """A path of ours; anything else would lead away from here."""
    is_own = path == HOME or path.startswith((f"{HOME}/", f"{HOME}?"))
    return path if is_own and "\\" not in path and path.isprintable() else HOME


def set_cookie(
    request: Request,
    answer: Response,
    name: str,
    value: str,
    lasts_s: int,
    *,
    same_site: Literal["strict", "lax"] = "strict",
) -> None:
    """Give the browser a cookie that no script reads."""
    answer.set_cookie(
        name,
        value,
        max_age=lasts_s,
        path=HOME,
        secure=request.url.scheme == "https",
        httponly=True,
        samesite=same_site,
    )


def delete_cookie(answer: Response, name: str) -> None:
    """Take a cookie back."""
    answer.delete_cookie(name, path=HOME, httponly=True, samesite="strict")
