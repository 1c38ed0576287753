"""The page at /dashboard, in a real browser, in front of all services."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Literal

import asyncpg
import httpx
import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, ViewportSize, expect

from services.gateway import postgres
from tests.dashboard import traffic
from tests.dashboard.browser import browsing
from tests.flow.stack import ADMIN_KEY, VIEWER_KEY, Stack
from tests.gateway.conftest import eventually
from tests.tools import Absent

pytestmark = pytest.mark.asyncio(loop_scope="session")
# A busy machine takes a while to draw a page, in milliseconds.
PATIENCE_MS = 60_000
PHONE = ViewportSize(width=390, height=844)
# A desk by day and a phone by night: a small screen hides nothing, and the night changes nothing but colours.
LOOKS: tuple[tuple[Literal["light", "dark"], ViewportSize | None], ...] = (("light", None), ("dark", PHONE))
VIEWS = (
    "",
    "/requests",
    "/models",
    "/spend",
    "/spend?by=model",
    "/keys",
    "/prompts",
    "/experiments",
    "/replay",
    "/playground",
)
# What is asked of every page: all rules of WCAG 2.2 at the levels A and AA.
RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """A browser, where there is one; its visitors share nothing but the process."""
    try:
        async with browsing() as one:
            yield one
    except Absent as absent:
        pytest.skip(str(absent))


@pytest_asyncio.fixture(loop_scope="session")
async def page(stack: Stack, browser: Browser) -> AsyncIterator[Page]:
    """A page of a new visitor; whatever its console complains of fails the test."""
    context = await browser.new_context(base_url=stack.rest)
    context.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    one = await context.new_page()
    complaints: list[str] = []
    one.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    one.on("pageerror", lambda error: complaints.append(str(error)))
    yield one
    await context.close()
    # Chromium counts an answer of ours that is no 200 as an error.
    assert [] == [text for text in complaints if "the server responded with a status of 4" not in text]


async def signed_in(page: Page, key: str) -> None:
    await page.goto("/dashboard")
    await page.get_by_label("Admin key or viewer key").fill(key)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Overview")).to_be_visible()


async def violations(page: Page) -> list[str]:
    """What axe finds wrong with a page."""
    found = await Axe().run(page, options=RULES)
    assert found.response["passes"], "axe looked at nothing"
    return [
        f"{page.url}: {one['id']}: {node['html']}"
        for one in found.response["violations"]
        for node in one["nodes"]
    ]


@pytest.fixture
async def history(stack: Stack) -> None:
    """An hour of traffic in the ledger."""
    async with postgres.pool(stack.database, timeout_s=60) as pool:
        await traffic.write(pool, list(traffic.requests(datetime.now(UTC), timedelta(hours=1), 300, seed=11)))


@pytest.fixture
async def kept(stack: Stack) -> AsyncIterator[list[str]]:
    """The pages of a stored prompt and of a running experiment that nobody takes part in."""
    headers = {"authorization": f"Bearer {ADMIN_KEY}"}
    async with httpx.AsyncClient(base_url=stack.rest, headers=headers, timeout=60, trust_env=False) as admin:
        content = {"messages": [{"role": "system", "content": "Be kind, and say so. " * 20}]}
        body = {"name": "on-the-page", "content": content, "note": "for the page"}
        prompt = (await admin.post("/admin/prompts", json=body)).json()
        variants = [{"name": "control"}, {"name": "small", "model": "small"}]
        described = {"name": "on-the-page", "organization_id": "nobody", "variants": variants}
        made = (await admin.post("/admin/experiments", json=described)).json()
        await admin.post("/admin/experiments/on-the-page/start")
        yield [
            f"/dashboard/prompts/{prompt['prompt_id']}",
            f"/dashboard/experiments/{made['experiment_id']}",
        ]
        await admin.delete("/admin/experiments/on-the-page")
        await admin.delete(f"/admin/prompts/{prompt['prompt_id']}", params={"revision": 1})


async def test_a_wrong_key_is_told_so_and_the_right_one_leads_to_the_page_that_was_wanted(page: Page) -> None:
    await page.goto("/dashboard/spend?by=user")
    await page.get_by_label("Admin key or viewer key").fill("sk-wrong")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("alert")).to_contain_text("neither")
    assert [] == await violations(page)
    await page.get_by_label("Admin key or viewer key").fill(VIEWER_KEY)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page).to_have_url(re.compile(r"/dashboard/spend\?by=user$"))
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


async def test_every_view_can_be_used_by_everybody(page: Page, history: None, kept: list[str]) -> None:
    await signed_in(page, ADMIN_KEY)
    await page.goto("/dashboard/requests?outcome=retried")
    story = await page.locator("tbody a").first.get_attribute("href")
    assert story is not None
    desk = page.viewport_size
    assert desk is not None
    found = []
    for path in (*(f"/dashboard{view}" for view in VIEWS), story, *kept):
        await page.goto(path)
        for scheme, size in LOOKS:
            await page.emulate_media(color_scheme=scheme)
            await page.set_viewport_size(size or desk)
            found += await violations(page)
            wide, shown = await page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
            assert wide <= shown, f"{path} is wider than a screen of {shown}"
    assert [] == found
    # The last one is of the experiment.
    page.on("dialog", lambda dialog: dialog.accept())
    await page.get_by_role("button", name="Stop the experiment").click()
    await expect(page.locator(".badge.stopped")).to_be_visible()
    assert [] == await violations(page)


async def test_the_overview_counts_what_the_ledger_counts_and_renews_itself(
    stack: Stack, page: Page, http: httpx.AsyncClient
) -> None:
    await page.clock.install()
    await signed_in(page, VIEWER_KEY)
    answer = await http.post(
        "/v1/chat/completions",
        json={"model": "small", "messages": [{"role": "user", "content": "Say hello"}]},
    )
    request = answer.json()["lumni"]["request_id"]
    connection = await asyncpg.connect(stack.database)

    async def written() -> bool:
        return bool(
            await connection.fetchval("SELECT true FROM usage_records WHERE request_id = $1", request)
        )

    async def renewed() -> bool:
        await page.clock.run_for(11_000)
        shown = await page.locator("dl.tiles dd").first.inner_text()
        since = "date_trunc('hour', now()) - interval '23 hours'"
        counted = await connection.fetchval(f"SELECT sum(requests) FROM usage_metrics WHERE hour >= {since}")
        return shown.startswith(f"{counted:,}")

    try:
        await eventually(written)
        await eventually(renewed)
    finally:
        await connection.close()


async def test_the_theme_is_switched_and_kept(page: Page) -> None:
    await signed_in(page, VIEWER_KEY)
    ground = "getComputedStyle(document.body).backgroundColor"
    light = await page.evaluate(ground)
    await page.get_by_role("button", name="Dark").click()
    dark = await page.evaluate(ground)
    assert dark != light
    await page.reload()
    assert dark == await page.evaluate(ground)
    await expect(page.get_by_role("button", name="Light")).to_be_visible()


async def test_a_key_is_made_used_limited_and_revoked(stack: Stack, page: Page) -> None:
    await signed_in(page, ADMIN_KEY)
    await page.goto("/dashboard/keys")
    await page.get_by_text("Make a key").click()
    form = page.locator("form[method=post]").filter(has_text="Make the key")
    await form.get_by_label("User").fill("browser-user")
    await form.get_by_label("Budget in USD").fill("1.50")
    await form.get_by_role("button", name="Make the key").click()
    secret = await page.get_by_label("Key", exact=True).input_value()
    assert [] == await violations(page)
    body = {"model": "small", "messages": [{"role": "user", "content": "Say hello"}]}
    async with httpx.AsyncClient(
        base_url=stack.rest, headers={"authorization": f"Bearer {secret}"}, timeout=60, trust_env=False
    ) as caller:
        assert 200 == (await caller.post("/v1/chat/completions", json=body)).status_code
        await page.get_by_role("link", name=re.compile("Go on to")).click()
        assert secret not in await page.content()
        assert [] == await violations(page)
        await page.get_by_label("Requests a minute").fill("many")
        await page.get_by_role("button", name="Change").click()
        await expect(page.get_by_role("alert")).to_contain_text("rpm_limit")
        await page.get_by_label("Requests a minute").fill("7")
        await page.get_by_role("button", name="Change").click()
        await expect(page.get_by_text("rpm_limit: 7")).to_be_visible()

        page.once("dialog", lambda dialog: dialog.dismiss())
        await page.get_by_role("button", name="Revoke the key").click()
        await expect(page.locator(".badge.active")).to_be_visible()
        page.once("dialog", lambda dialog: dialog.accept())
        await page.get_by_role("button", name="Revoke the key").click()
        await expect(page.locator(".badge.revoked")).to_be_visible()

        async def refused() -> bool:
            return (await caller.post("/v1/chat/completions", json=body)).status_code == 401

        await eventually(refused)


async def test_the_playground_shows_two_decisions_and_two_answers_that_are_booked(
    stack: Stack, page: Page
) -> None:
    await signed_in(page, ADMIN_KEY)
    await page.goto("/dashboard/playground")
    await page.get_by_label("Prompt").fill("Say <b>hello</b> to the world")
    await page.get_by_label("Beside it").select_option("large")
    await page.get_by_role("button", name="Decide and answer").click()

    await expect(page.locator("[data-answer]")).to_have_count(2)
    await expect(page.locator("[data-decision]")).to_have_count(2)
    await expect(page.locator("[data-answer] [role=alert]")).to_have_count(0)
    await expect(page.locator("[data-answer]").last).to_contain_text("large by")
    assert 0 == await page.locator("[data-answer] .answer b").count()
    assert [] == await violations(page)
    story = await page.get_by_role("link", name="Its story").last.get_attribute("href")
    assert story is not None

    async def told() -> bool:
        answer = await page.goto(story)
        return answer is not None and answer.ok and "final" in await page.content()

    await eventually(told)


async def test_the_decision_is_seen_before_the_answer(stack: Stack, page: Page) -> None:
    await signed_in(page, ADMIN_KEY)
    await page.goto("/dashboard/playground")
    await page.get_by_label("Prompt").fill("Say hello")
    await page.get_by_label("Model").select_option("hangs")
    await page.get_by_role("button", name="Decide and answer").click(no_wait_after=True)

    await expect(page.locator("[data-decision]")).to_contain_text("hangs")
    assert 0 == await page.locator("[data-answer]").count()


async def test_everything_is_reached_by_the_keyboard(page: Page) -> None:
    await signed_in(page, VIEWER_KEY)
    await page.reload()
    reached = []
    for _ in range(14):
        await page.keyboard.press("Tab")
        reached.append(await page.evaluate("document.activeElement.textContent.trim()"))
    assert "Skip to the content" == reached[0]
    assert {"Overview", "Requests", "Models", "Spend", "Dark", "Sign out", "7 days"} <= set(reached)
    assert not {"Keys", "Playground"} & set(reached)
