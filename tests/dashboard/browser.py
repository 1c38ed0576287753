"""A headless Chromium, as Debian has it, driven by Playwright."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import Browser, async_playwright

from tests import tools


@asynccontextmanager
async def browsing() -> AsyncIterator[Browser]:
    """A browser until the block ends.

    Raises:
        Absent: there is none.
    """
    path = tools.find("chromium")
    async with async_playwright() as driver:
        # Containers have little of /dev/shm, and no user that a sandbox could be made for.
        browser = await driver.chromium.launch(
            executable_path=str(path), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        try:
            yield browser
        finally:
            await browser.close()
