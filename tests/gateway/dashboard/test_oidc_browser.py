"""Signing in with a real browser, through a certified provider of OpenID Connect (oidc-provider, of Node)."""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.async_api import Page, expect

from services.chassis.config import from_environ
from services.gateway.dashboard.oidc.provider import CALLBACK, Provider
from services.gateway.dashboard.oidc.settings import Settings
from services.gateway.dashboard.routes import Oidc
from services.gateway.rest import server
from services.gateway.rest.connections import Connections
from services.gateway.rest.draining import Draining
from services.local.ports import free
from tests.clients import environments
from tests.dashboard.browser import browsing
from tests.tools import Absent

PROVIDER = Path(environments.OPENID.lock).with_name("provider.mjs")
START_S = 60
PATIENCE_MS = 60_000


@pytest.fixture
def address() -> str:
    """Where the page is served."""
    return f"127.0.0.1:{free()}"


@pytest.fixture
async def issuer(address: str, tmp_path: Path) -> AsyncIterator[str]:
    """The provider, in a process of its own."""
    try:
        packages = environments.OPENID.find()
    except Absent as absent:
        pytest.skip(str(absent))
    (tmp_path / "node_modules").symlink_to(packages / "node_modules")
    script = shutil.copy(PROVIDER, tmp_path)
    port = free()
    process = await asyncio.create_subprocess_exec(
        "node",
        script,
        str(port),
        f"http://{address}{CALLBACK}",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=environments.clean(tmp_path),
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(START_S):
            assert b"listening\n" == await process.stdout.readline()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        await process.wait()


@pytest.fixture
async def oidc(issuer: str, address: str) -> AsyncIterator[Oidc]:
    """What the gateway knows of it."""
    settings = from_environ(
        Settings,
        {
            "LUMNI_OIDC_ISSUER": issuer,
            "LUMNI_OIDC_CLIENT_ID": "lumni",
            "LUMNI_OIDC_CLIENT_SECRET": "secret",
            "LUMNI_OIDC_PUBLIC_URL": f"http://{address}",
            "LUMNI_OIDC_ADMINS": "llm-admins",
        },
    )
    async with httpx.AsyncClient(trust_env=False) as client:
        yield Oidc(Provider(client, settings), settings)


@pytest.fixture
async def page(app: Any, address: str) -> AsyncIterator[Page]:
    """The sign-in page in a new browser."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(
            server.serve(app, address, 1, connections=Connections(100), draining=Draining())
        )
        try:
            browser = await stack.enter_async_context(browsing())
        except Absent as absent:
            pytest.skip(str(absent))
        context = await browser.new_context(base_url=f"http://{address}")
        context.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        one = await context.new_page()
        await one.goto("/dashboard/keys")
        yield one


async def at_the_provider(page: Page, name: str) -> None:
    await page.get_by_role("link", name="Sign in through 127.0.0.1").click()
    await page.get_by_placeholder("Enter any login").fill(name)
    await page.get_by_placeholder("and password").fill("any")
    await page.get_by_role("button", name="Sign-in").click()
    await page.get_by_role("button", name="Continue").click()


async def test_an_admin_comes_back_signed_in_to_the_page_that_was_wanted(page: Page) -> None:
    await at_the_provider(page, "ann")
    await expect(page).to_have_url(re.compile(r"/dashboard/keys$"))
    await expect(page.get_by_role("heading", name="Keys", exact=True)).to_be_visible()
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


async def test_somebody_without_a_role_is_told_so(page: Page) -> None:
    await at_the_provider(page, "ben")
    await expect(page.get_by_role("alert")).to_contain_text("ben@example.com has signed in at 127.0.0.1")
