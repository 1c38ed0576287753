"""Pages made of templates, with the headers that every page has."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from fastapi import Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse, StreamingResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from services.gateway.dashboard import formats
from services.gateway.dashboard.assets import Asset
from services.gateway.dashboard.session import Session

HOME = "/dashboard"
TEMPLATES = Path(__file__).parent / "templates"
THEMES = ("light", "dark")
# Nothing is loaded but our own files, nothing inline runs or styles, and no other site may show or be sent this page.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Mapping[str, str] = {
    "content-security-policy": POLICY,
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
# The pages by the last part of their path, as the menu shows them, and whether only admins see them.
MENU = (
    ("", "Overview", False),
    ("requests", "Requests", False),
    ("models", "Models", False),
    ("spend", "Spend", False),
    ("prompts", "Prompts", True),
    ("experiments", "Experiments", True),
    ("replay", "Replay", True),
    ("keys", "Keys", True),
    ("playground", "Playground", True),
)


class Pages:
    """Makes pages."""

    def __init__(self, assets: Mapping[str, Asset]) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            enable_async=True,
        )
        self._environment.globals |= {
            "home": HOME,
            "menu": MENU,
            "versions": {name: asset.version for name, asset in assets.items()},
        }
        self._environment.filters |= {
            "money": formats.money,
            "usd": formats.plain_usd,
            "short_usd": formats.short_usd,
            "count": formats.count,
            "compact": formats.compact,
            "percent": formats.percent,
            "ms": formats.milliseconds,
            "moment": formats.moment,
            "day": formats.day,
            "seconds": formats.seconds,
            "words": formats.words,
        }

    async def page(self, request: Request, name: str, status: int = 200, **values: Any) -> Response:
        """A whole page."""
        text = await self._environment.get_template(name).render_async(self._values(request, values))
        return HTMLResponse(text, status, headers=dict(HEADERS))

    def growing(self, request: Request, name: str, **values: Any) -> Response:
        """A page that is sent as far as it is made: what it waits for comes later."""
        values = self._values(request, values)

        async def pieces() -> AsyncIterator[str]:
            async for piece in self._environment.get_template(name).generate_async(values):
                yield piece

        # A proxy that collects answers would keep back what is to be seen first.
        headers = {**HEADERS, "x-accel-buffering": "no"}
        return StreamingResponse(pieces(), media_type="text/html", headers=headers)

    def _values(self, request: Request, values: Mapping[str, Any]) -> dict[str, Any]:
        session: Session | None = getattr(request.state, "session", None)
        theme = request.cookies.get("lumni_theme", "")
        return {
            "session": session,
            "path": request.url.path,
            "theme": theme if theme in THEMES else "",
            **values,
        }


def redirect(path: str) -> Response:
    """Send the browser to another of our pages, with GET."""
    return RedirectResponse(path, 303, headers=dict(HEADERS))
