"""A headless Chromium, as Debian has it, driven by Playwright."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import Browser, async_playwright

from tests.tools import Absent

# By name: Debian's, and what other distributions call it.
NAMES = ("chromium", "chromium-browser", "google-chrome")


def find() -> str:
    """Where Chromium is.

    Raises:
        Absent: it is not installed.
    """
    for name in NAMES:
        if found := shutil.which(name):
            return found
    raise Absent("Chromium is not installed; on Debian and Ubuntu: apt install chromium")


@asynccontextmanager
async def browsing() -> AsyncIterator[Browser]:
    """A browser until the block ends.

    Raises:
        Absent: there is none.
    """
    path = find()
    async with async_playwright() as driver:
        # Containers have little of /dev/shm, and no user that a sandbox could be made for.
        browser = await driver.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        try:
            yield browser
        finally:
            await browser.close()
