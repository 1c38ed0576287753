"""The pages against real stores: what they show is the ledger's, and what attackers send changes and shows nothing."""

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
from lumni.events.v1 import events_pb2

from services.chassis import errors, redis, redis_keys
from services.chassis.money import NANO
from services.gateway import postgres
from services.gateway.dashboard.page_route import COOKIE
from services.gateway.dashboard.sign_in_limit import MOST
from services.gateway.reports.requests import PAGE
from tests.dashboard import traffic
from tests.gateway.dashboard.conftest import ADMIN_KEY, EVIL, VIEWER_KEY, Peers, health, sign_in, token

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
FOR_ADMINS = ("/keys", "/prompts", "/experiments", "/playground")


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


async def test_a_key_is_made_limited_and_revoked(browser: Callable[..., Any], pool: postgres.Pool) -> None:
    async with browser(ADMIN_KEY) as one:
        own = token(await one.get("/dashboard/keys"))
        made = await one.post(
            "/dashboard/keys",
            data={
                "csrf": own,
                "user_id": "ann",
                "budget_usd": "12.50",
                "rpm_limit": "60",
                "models": "a, b",
                "expires_at": "",
            },
        )
        assert 201 == made.status_code
        secret = re.search(r"sk-lumni-[\w-]+", made.text)
        assert secret is not None
        row = await pool.fetchrow("SELECT * FROM virtual_keys")
        assert row is not None
        assert (12_500_000_000, 60, ["a", "b"]) == (row["budget_nano_usd"], row["rpm_limit"], row["models"])
        page = f"/dashboard/keys/{row['key_id']}"
        assert secret[0] not in (await one.get(page)).text

        changed = await one.post(
            page,
            data={"csrf": own, "rpm_limit": "", "budget_usd": "3", "models": "", "expires_at": "2099-12-31"},
        )
        assert 303 == changed.status_code
        row = await pool.fetchrow("SELECT * FROM virtual_keys")
        assert row is not None
        assert (3 * NANO, None, []) == (row["budget_nano_usd"], row["rpm_limit"], row["models"])
        assert datetime(2099, 12, 31, 23, 59, 59, tzinfo=UTC) == row["expires_at"]

        wrong = await one.post(page, data={"csrf": own, "rpm_limit": "many"})
        assert (400, True) == (wrong.status_code, "rpm_limit" in wrong.text)
        assert 303 == (await one.post(f"{page}/revoke", data={"csrf": own})).status_code
        assert "revoked" in (await one.get(page)).text
    assert ["key.create", "key.change", "key.revoke"] == [
        one["action"] for one in await pool.fetch("SELECT action FROM audit_events ORDER BY event_id")
    ]


async def test_what_a_key_says_of_models_and_texts_is_changed_and_taken_back(
    browser: Callable[..., Any], pool: postgres.Pool
) -> None:
    async with browser(ADMIN_KEY) as one:
        own = token(await one.get("/dashboard/keys"))
        said = {"csrf": own, "user_id": "ann", "powerful_share": "0.25", "store_prompts": "false"}
        assert 201 == (await one.post("/dashboard/keys", data=said)).status_code
        key_id, *values = await pool.fetchrow(
            "SELECT key_id, powerful_share, store_prompts FROM virtual_keys"
        )  # type: ignore[misc]
        assert [0.25, False] == values
        page = f"/dashboard/keys/{key_id}"
        shown = (await one.get(page)).text
        share = re.search(r'id="powerful_share"[^>]* value="([^"]*)"', shown)
        assert share is not None
        assert "0.25" == share[1]
        assert '<option value="false" selected>never' in shown

        wrong = await one.post(page, data={"csrf": own, "powerful_share": "2", "store_prompts": "false"})
        assert (400, True) == (wrong.status_code, "powerful_share" in wrong.text)
        taken_back = {"csrf": own, "powerful_share": "", "store_prompts": ""}
        assert 303 == (await one.post(page, data=taken_back)).status_code
        row = await pool.fetchrow("SELECT powerful_share, store_prompts FROM virtual_keys")
        assert row is not None
        assert (None, None) == tuple(row)


async def test_a_key_gets_a_new_secret_and_begins_its_minute_anew(
    browser: Callable[..., Any], pool: postgres.Pool
) -> None:
    async with browser(ADMIN_KEY) as one:
        own = token(await one.get("/dashboard/keys"))
        await one.post("/dashboard/keys", data={"csrf": own, "user_id": "ann"})
        page = f"/dashboard/keys/{await pool.fetchval('SELECT key_id FROM virtual_keys')}"
        for grace, code in (("", 400), ("soon", 400), ("3600", 201)):
            answer = await one.post(f"{page}/rotate", data={"csrf": own, "grace_s": grace})
            assert code == answer.status_code
        secret = re.search(r"sk-lumni-[\w-]+", answer.text)
        assert secret is not None
        assert "The earlier one works until" in answer.text
        assert secret[0].endswith(await pool.fetchval("SELECT hint FROM virtual_keys"))

        assert 303 == (await one.post(f"{page}/reset-limits", data={"csrf": own})).status_code
        await one.post(f"{page}/revoke", data={"csrf": own})
        refused = await one.post(f"{page}/rotate", data={"csrf": own, "grace_s": "0"})
        assert (400, True) == (refused.status_code, "is revoked" in refused.text)
    assert ["key.create", "key.rotate", "key.reset_limits", "key.revoke"] == [
        one["action"] for one in await pool.fetch("SELECT action FROM audit_events ORDER BY event_id")
    ]


@pytest.mark.parametrize(
    "expires",
    [
        datetime(2020, 5, 1, 10, 30, tzinfo=UTC),
        datetime(2099, 5, 1, 10, 30, tzinfo=UTC),
        None,
    ],
)
async def test_a_changed_limit_leaves_the_expiry_as_it_is(
    browser: Callable[..., Any], pool: postgres.Pool, expires: datetime | None
) -> None:
    async with browser(ADMIN_KEY) as one:
        own = token(await one.get("/dashboard/keys"))
        assert 201 == (await one.post("/dashboard/keys", data={"csrf": own, "user_id": "ann"})).status_code
        await pool.execute("UPDATE virtual_keys SET expires_at = $1", expires)
        path = f"/dashboard/keys/{await pool.fetchval('SELECT key_id FROM virtual_keys')}"
        shown = re.search(r'name="expires_at" type="date" value="([^"]*)"', (await one.get(path)).text)
        assert shown is not None

        changed = await one.post(path, data={"csrf": own, "rpm_limit": "7", "expires_at": shown[1]})

        assert 303 == changed.status_code
        row = await pool.fetchrow("SELECT rpm_limit, expires_at FROM virtual_keys")
        assert (7, expires) == tuple(row or ())
        detail = await pool.fetchval("SELECT detail FROM audit_events WHERE action = 'key.change'")
        assert "expires_at" not in detail

        # Another day is a change.
        await one.post(path, data={"csrf": own, "expires_at": "2098-01-01"})
        assert datetime(2098, 1, 1, 23, 59, 59, tzinfo=UTC) == await pool.fetchval(
            "SELECT expires_at FROM virtual_keys"
        )


async def test_the_numbers_are_the_ledgers(browser: Callable[..., Any], pool: postgres.Pool) -> None:
    happened = list(traffic.requests(datetime.now(UTC), timedelta(hours=2), 400))
    await traffic.write(pool, happened)
    cost = sum(event.attempt.cost_nano_usd for one in happened for event in one.attempts)
    by_user: dict[str, int] = {}
    for one in happened:
        for event in one.attempts:
            user = event.context.user_id
            by_user[user] = by_user.get(user, 0) + event.attempt.cost_nano_usd
    async with browser(VIEWER_KEY) as one:
        overview = (await one.get("/dashboard?period=6h")).text
        spend = (await one.get("/dashboard/spend?by=user&period=7d")).text

    def amounts(page: str) -> list[int]:
        return [round(float(text) * NANO) for text in re.findall(r'<data value="([^"]+)"', page)]

    assert cost == amounts(overview)[0]
    refused = sum(1 for one in happened if one.decision.refusal)
    assert refused > 0
    assert f"{refused} refused" in overview
    assert [cost, *sorted(by_user.values(), reverse=True)] == amounts(spend)


async def test_requests_are_found_page_by_page(browser: Callable[..., Any], pool: postgres.Pool) -> None:
    happened = list(traffic.requests(datetime.now(UTC), timedelta(minutes=30), 130, seed=3))
    await traffic.write(pool, happened)
    expected = {one.decision.context.request_id for one in happened}
    found: list[str] = []
    async with browser(VIEWER_KEY) as one:
        path = "/dashboard/requests?period=6h"
        pages = 0
        while path:
            page = (await one.get(path)).text
            found += re.findall(r'href="/dashboard/requests/([^"]+)"', page)
            following = re.search(r'href="([^"]+)">Older requests', page)
            path = following[1].replace("&amp;", "&") if following else ""
            pages += 1

        async def of(**asked: str) -> set[str]:
            answer = await one.get("/dashboard/requests", params={"period": "6h", **asked})
            return set(re.findall(r'href="/dashboard/requests/([^"]+)"', answer.text))

        refused = {one.decision.context.request_id for one in happened if one.decision.refusal}
        retried = {one.decision.context.request_id for one in happened if len(one.attempts) > 1}
        assert refused
        assert retried
        assert (refused, retried) == (await of(outcome="refused"), await of(outcome="retried"))
        assert set() == await of(outcome="failed")
        user = happened[0].decision.context.user_id
        assert await of(user_id=user) == {
            one.decision.context.request_id for one in happened if one.decision.context.user_id == user
        }
        trace = happened[0].decision.context.traceparent.split("-")[1]
        opened = await one.get("/dashboard/requests", params={"q": trace})
        assert opened.headers["location"].endswith(happened[0].decision.context.request_id)
    assert 1 + 129 // PAGE == pages
    assert sorted(expected) == sorted(found)


async def test_a_request_is_told_with_its_reasons(browser: Callable[..., Any], pool: postgres.Pool) -> None:
    happened = list(traffic.requests(datetime.now(UTC), timedelta(minutes=30), 60, seed=3))
    await traffic.write(pool, happened)
    told = next(one for one in happened if len(one.attempts) > 1)
    async with browser(VIEWER_KEY) as one:
        page = (await one.get(f"/dashboard/requests/{told.decision.context.request_id}")).text
        nobodys = await one.get("/dashboard/requests/01a200b2-9b21-7738-a285-3a46539b1d8c")
    assert told.decision.context.traceparent.split("-")[1] in page
    assert told.decision.classification.factors[0].name in page
    for candidate in told.decision.selection.candidates:
        assert candidate.deployment in page
        assert f"{candidate.score:.3f}" in page
    for event in told.attempts:
        assert event.attempt.deployment in page
    assert "server error" in page
    assert 404 == nobodys.status_code


async def test_an_answer_from_the_cache_is_an_answer(
    browser: Callable[..., Any], pool: postgres.Pool
) -> None:
    (told,) = traffic.requests(datetime.now(UTC), timedelta(seconds=1), 1, seed=7)
    (event,) = told.attempts
    event.kind, event.attempt.cost_nano_usd = events_pb2.USAGE_KIND_CACHED, 0
    await traffic.write(pool, [told])
    request = told.decision.context.request_id

    async with browser(VIEWER_KEY) as one:
        answered = (await one.get("/dashboard/requests?period=6h&outcome=answered")).text
        failed = (await one.get("/dashboard/requests?period=6h&outcome=failed")).text
        page = (await one.get(f"/dashboard/requests/{request}")).text
        overview = (await one.get("/dashboard?period=6h")).text

    assert (True, False) == (request in answered, request in failed)
    for text in (answered, page):
        assert '<span class="badge answered">' in text
        assert '<span class="badge failed">' not in text
    assert ": 1 cached</title>" in overview
    table = overview.rpartition("Attempts and spend by time")[2]
    column = re.findall(r"<th [^>]*>([^<]*)</th>", table).index("From cache")
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr><td.*?</tr>", table)]
    assert 1 == sum(int(row[column]) for row in rows)


async def test_the_models_page_shows_what_all_executors_know(
    browser: Callable[..., Any], client: redis.Redis
) -> None:
    for view in (health("a", 300), health("b", 200)):
        await client.hset(redis_keys.health(view.replica), EVIL, view.SerializeToString())
        await client.sadd(redis_keys.HEALTH_REPLICAS, view.replica)
    async with browser(VIEWER_KEY) as one:
        page = (await one.get("/dashboard/models")).text

    assert '<span class="badge open">open</span>' in page
    assert "As 2 executors see them" in page
    assert "200 of 1,500" in page


async def test_without_redis_the_models_page_shows_what_one_executor_knows(
    browser: Callable[..., Any],
) -> None:
    async with browser(VIEWER_KEY) as one:
        page = (await one.get("/dashboard/models")).text

    assert "one executor sees them" in page
    assert "300 of 1,500" in page


async def test_the_models_page_outlives_the_services_that_it_asks(
    browser: Callable[..., Any], peers: Peers
) -> None:
    peers.fault = errors.Unavailable("down")
    async with browser(VIEWER_KEY) as one:
        answer = await one.get("/dashboard/models")

    assert 200 == answer.status_code
    assert "Neither Redis nor an executor answers" in answer.text
    assert "The selector does not answer" in answer.text


async def test_a_slow_database_is_said_to_be_and_never_waited_for(
    browser: Callable[..., Any], pool: postgres.Pool
) -> None:
    async with browser(VIEWER_KEY) as one:
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute("LOCK TABLE usage_records, usage_metrics IN ACCESS EXCLUSIVE MODE")
            for path in ("", "/requests", "/spend"):
                answer = await one.get(f"/dashboard{path}")
                assert (503, True) == (answer.status_code, "cannot be read" in answer.text)
        # A failure is not remembered.
        assert 200 == (await one.get("/dashboard")).status_code


async def test_files_are_kept_by_browsers_as_long_as_their_text_is_the_same(
    browser: Callable[..., Any],
) -> None:
    async with browser() as one:
        page = (await one.get("/dashboard/sign-in")).text
        addresses = re.findall(r'(?:href|src)="(/dashboard/static/[^"]+)"', page)
        assert 3 == len(addresses)
        for address in addresses:
            answer = await one.get(address)
            assert (200, True) == (answer.status_code, "immutable" in answer.headers["cache-control"])
        assert 404 == (await one.get("/dashboard/static/old/dashboard.css")).status_code
        assert 404 == (await one.get("/dashboard/static/old/..%2f..%2froutes.py")).status_code
