"""Who may see and change what at the page, and what attackers send, which changes and shows nothing."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from xml.sax.saxutils import escape

import pytest
from fastapi import FastAPI

from services.gateway import postgres
from services.gateway.dashboard.page_route import COOKIE
from services.gateway.dashboard.sign_in_limit import MOST
from tests.dashboard import traffic
from tests.gateway.dashboard.conftest import ADMIN_KEY, EVIL, VIEWER_KEY, sign_in, token

VIEWS = (
    "",
    "/overview/live",
    "/requests",
    "/models",
    "/models/live",
    "/spend",
    "/spend?by=user",
    "/spend.csv",
)


FOR_ADMINS = ("/keys", "/prompts", "/experiments", "/replay", "/playground")


async def test_who_has_not_signed_in_is_sent_to_the_sign_in(browser: Callable[..., Any]) -> None:
    async with browser() as one:
        for path in (*VIEWS, *FOR_ADMINS, "/requests/x", "/keys/x"):
            answer = await one.get(f"/dashboard{path}")
            assert (303, True) == (
                answer.status_code,
                answer.headers["location"].startswith("/dashboard/sign-in?next=%2Fdashboard"),
            ), path
        fragment = await one.get("/dashboard/overview/live", headers={"x-lumni-fragment": "1"})
        assert (401, "") == (fragment.status_code, fragment.text)


async def test_a_wrong_key_signs_nobody_in_and_too_many_of_them_must_wait(
    browser: Callable[..., Any],
) -> None:
    async with browser() as one:
        for _ in range(MOST):
            answer = await sign_in(one, "sk-wrong")
            assert 401 == answer.status_code
            assert COOKIE not in one.cookies
        answer = await sign_in(one, ADMIN_KEY)
        assert 429 == answer.status_code
        assert 0 < int(answer.headers["retry-after"]) <= 61
        assert COOKIE not in one.cookies


async def test_wrong_keys_sent_at_once_are_no_more_than_those_sent_in_turn(
    browser: Callable[..., Any],
) -> None:
    more = 5
    all_begun = asyncio.Barrier(MOST + more)
    async with browser() as one:
        form = urlencode({"csrf": token(await one.get("/dashboard/sign-in")), "key": "sk-wrong"}).encode()

        async def body() -> AsyncIterator[bytes]:
            await all_begun.wait()
            yield form

        headers = {"content-type": "application/x-www-form-urlencoded"}
        answers = await asyncio.gather(
            *(one.post("/dashboard/sign-in", content=body(), headers=headers) for _ in range(MOST + more))
        )

    assert {401: MOST, 429: more} == Counter(answer.status_code for answer in answers)


async def test_the_sign_in_takes_forms_of_its_own_page_alone(browser: Callable[..., Any]) -> None:
    async with browser() as one, browser() as other:
        theirs = token(await other.get("/dashboard/sign-in"))
        mine = token(await one.get("/dashboard/sign-in"))
        for data in ({"key": ADMIN_KEY}, {"key": ADMIN_KEY, "csrf": theirs}, {"key": ADMIN_KEY, "csrf": ""}):
            assert 403 == (await one.post("/dashboard/sign-in", data=data)).status_code
        assert (
            400 == (await one.post("/dashboard/sign-in", json={"key": ADMIN_KEY, "csrf": mine})).status_code
        )
        assert COOKIE not in one.cookies


@pytest.mark.parametrize(
    ("wanted", "path"),
    [
        ("/dashboard/spend?by=user", "/dashboard/spend?by=user"),
        ("https://evil.example/dashboard", "/dashboard"),
        ("//evil.example", "/dashboard"),
        ("/dashboard\\@evil.example", "/dashboard"),
        ("/dashboards", "/dashboard"),
        ("/dashboard/\r\nset-cookie: a=b", "/dashboard"),
    ],
)
async def test_the_sign_in_leads_to_pages_of_ours_alone(
    browser: Callable[..., Any], wanted: str, path: str
) -> None:
    async with browser() as one:
        assert path == (await sign_in(one, ADMIN_KEY, next=wanted)).headers["location"]


@pytest.mark.parametrize(("scheme", "secure"), [("http", False), ("https", True)])
async def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(
    browser: Callable[..., Any], scheme: str, secure: bool
) -> None:
    async with browser(scheme=scheme) as one:
        answer = await sign_in(one, ADMIN_KEY)

    cookie = next(text for text in answer.headers.get_list("set-cookie") if text.startswith(f"{COOKIE}="))
    assert {"HttpOnly", "SameSite=strict", "Path=/dashboard", "Max-Age=3600"} <= set(cookie.split("; "))
    assert secure == ("Secure" in cookie.split("; "))
    assert ADMIN_KEY not in cookie


async def test_every_page_forbids_what_is_not_its_own(browser: Callable[..., Any]) -> None:
    async with browser(ADMIN_KEY) as one:
        for path in (*VIEWS, *FOR_ADMINS, "/requests/x", "/sign-in"):
            headers = (await one.get(f"/dashboard{path}")).headers
            policy = headers["content-security-policy"]
            assert policy.startswith("default-src 'none';"), path
            assert "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
            assert ("no-store", "nosniff") == (headers["cache-control"], headers["x-content-type-options"])


async def test_no_page_has_a_script_or_a_style_of_its_own(
    browser: Callable[..., Any], pool: postgres.Pool
) -> None:
    request = await one_evil_request(pool)
    async with browser(ADMIN_KEY) as one:
        for path in (*VIEWS[:-1], *FOR_ADMINS, f"/requests/{request}"):
            page = (await one.get(f"/dashboard{path}")).text
            assert not re.search(
                r"<script(?![^>]* src=\"/dashboard/static/)|<style| style=| on\w+=\"", page
            ), path


async def one_evil_request(pool: postgres.Pool) -> str:
    """A request of which every text that comes from outside is markup; its id."""
    (one,) = traffic.requests(datetime.now(UTC), timedelta(seconds=1), 1, seed=7)
    assert one.attempts
    contexts = [one.decision.context, *(event.context for event in one.attempts)]
    for context in contexts:
        context.user_id = context.organization_id = context.key_id = context.plan = EVIL
        context.metadata[EVIL] = EVIL
    for event in one.attempts:
        event.attempt.model = event.attempt.provider = event.attempt.deployment = EVIL
        event.attempt.error_class = EVIL
    one.decision.requested_model = one.decision.selection.reason = EVIL
    one.decision.classification.language = one.decision.classification.subject = EVIL
    one.decision.classification.factors[0].name = EVIL
    for candidate in one.decision.selection.candidates:
        candidate.deployment = candidate.model = candidate.parts[0].name = EVIL
        candidate.benchmarks[0].name = EVIL
    one.decision.selection.removals.add(filter=EVIL, models=[EVIL])
    await traffic.write(pool, [one])
    return one.decision.context.request_id


async def test_markup_in_the_ledger_is_shown_as_text(
    browser: Callable[..., Any], pool: postgres.Pool
) -> None:
    request = await one_evil_request(pool)
    async with browser(ADMIN_KEY) as one:
        for path in (
            "",
            "/overview/live",
            "/requests",
            "/models",
            "/spend?by=model",
            "/spend?by=user",
            f"/requests/{request}",
        ):
            page = (await one.get(f"/dashboard{path}")).text
            assert "<script>alert" not in page, path
            assert "<img" not in page, path
            assert escape(EVIL[:8]) in page, path
        searched = await one.get("/dashboard/requests", params={"user_id": EVIL, "model": EVIL})
        assert (200, True) == (searched.status_code, request in searched.text)
        assert "<script>alert" not in searched.text
        refused = await one.get("/dashboard/requests", params={"q": EVIL})
        assert (400, False) == (refused.status_code, "<img" in refused.text)


async def test_a_viewer_sees_no_key_and_changes_nothing(
    app: Any, browser: Callable[..., Any], pool: postgres.Pool
) -> None:
    posts = {path for path, methods in pages_of(app) if "POST" in methods} - {
        "/dashboard/sign-in",
        "/dashboard/sign-out",
    }
    assert len(posts) >= 4
    async with browser(ADMIN_KEY) as admin:
        await admin.post(
            "/dashboard/keys", data={"csrf": token(await admin.get("/dashboard/keys")), "user_id": "ann"}
        )
    key_id, hint = await pool.fetchrow("SELECT key_id, hint FROM virtual_keys")  # type: ignore[misc]
    async with browser(VIEWER_KEY) as viewer:
        own = token(await viewer.get("/dashboard"))
        for path in posts:
            answer = await viewer.post(
                path.replace("{key_id}", key_id), data={"csrf": own, "plan": "x", "prompt": "x"}
            )
            assert 403 == answer.status_code, path
        for path in (*FOR_ADMINS, f"/keys/{key_id}"):
            answer = await viewer.get(f"/dashboard{path}")
            assert (403, False) == (answer.status_code, hint in answer.text)
        for path in VIEWS:
            answer = await viewer.get(f"/dashboard{path}")
            assert (200, False) == (answer.status_code, "/dashboard/keys" in answer.text)
    assert 1 == await pool.fetchval("SELECT count(*) FROM virtual_keys WHERE revoked_at IS NULL")


def pages_of(app: Any) -> list[tuple[str, set[str]]]:
    """Every path below /dashboard, with its methods."""
    while not isinstance(app, FastAPI):
        app = app._app
    found: list[tuple[str, set[str]]] = []

    def walk(routes: Any) -> None:
        for route in routes:
            if hasattr(route, "methods") and hasattr(route, "path"):
                found.append((route.path, set(route.methods)))
            elif hasattr(route, "original_router"):
                walk(route.original_router.routes)

    walk(app.router.routes)
    return [(path, methods) for path, methods in found if path.startswith("/dashboard")]


async def test_nothing_is_changed_without_the_token_of_the_session(
    browser: Callable[..., Any], pool: postgres.Pool
) -> None:
    async with browser(ADMIN_KEY) as one, browser(ADMIN_KEY) as other:
        theirs = token(await other.get("/dashboard/keys"))
        for data in ({"user_id": "ann"}, {"user_id": "ann", "csrf": theirs}, {"user_id": "ann", "csrf": "x"}):
            assert 403 == (await one.post("/dashboard/keys", data=data)).status_code
        own = token(await one.get("/dashboard/keys"))
        assert 400 == (await one.post("/dashboard/keys", json={"csrf": own})).status_code
        too_long = await one.post("/dashboard/keys", data={"csrf": own, "user_id": "x" * 300_000})
        assert 413 == too_long.status_code
    assert 0 == await pool.fetchval("SELECT count(*) FROM virtual_keys")


async def test_who_signs_out_is_out(browser: Callable[..., Any]) -> None:
    async with browser(VIEWER_KEY) as one:
        answer = await one.post("/dashboard/sign-out", data={"csrf": token(await one.get("/dashboard"))})
        assert (303, "/dashboard/sign-in") == (answer.status_code, answer.headers["location"])
        assert 303 == (await one.get("/dashboard")).status_code
