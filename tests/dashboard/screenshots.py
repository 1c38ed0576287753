"""Take the pictures of docs/dashboard: python -m tests.dashboard.screenshots [folder].

All services run in front of the provider simulator; the ledger has a month of traffic, the last day of it dense.
"""

import asyncio
import shutil
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import httpx
from lumni.events.v1 import events_pb2
from playwright.async_api import Browser, Page, ViewportSize

from services.gateway import postgres
from services.gateway.migrate import migrate
from services.local.postgres import UNSAFE, Postgres
from services.local.server import started
from services.local.valkey import Valkey
from tests import simulator
from tests.dashboard import traffic
from tests.dashboard.browser import browsing
from tests.dashboard.traffic import Happened
from tests.flow import stack as stacks
from tests.flow.stack import ADMIN_KEY, Stack

FOLDER = Path(__file__).parents[2] / ".lumni" / "dashboard"
WIDE = ViewportSize(width=1280, height=900)
PHONE = ViewportSize(width=390, height=844)
LOOKS: tuple[tuple[str, ViewportSize, Literal["light", "dark"]], ...] = (
    ("light", WIDE, "light"),
    ("dark", WIDE, "dark"),
    ("phone", PHONE, "light"),
)
REAL = 40
CACHED_MS = 4
HEADROOM = "rpm: 600, tpm: 400000"
FLEET = (
    "model_list:\n"
    + "".join(
        f"  - model_name: {one.name}\n"
        f"    litellm_params: {{{{model: openai/{one.name}, api_base: '{{simulator}}/v1', "
        f"api_key: os.environ/SIMULATOR_KEY, {HEADROOM}}}}}\n"
        f"    model_info: {{{{id: {one.provider}-{one.name}, input_cost_per_token: {one.input / 1e15:.12f}, "
        f"output_cost_per_token: {one.output / 1e15:.12f}, "
        f"max_input_tokens: 128000, supports_function_calling: true, access_groups: [all]}}}}\n"
        for one in (*traffic.FAST, *traffic.POWERFUL)
    )
    + "  - model_name: o3-pro\n"
    "    litellm_params: {{model: openai/o3-pro-sim-500, api_base: '{simulator}/v1', api_key: os.environ/SIMULATOR_KEY}}\n"
    "    model_info: {{id: openai-o3-pro, input_cost_per_token: 0.00002, output_cost_per_token: 0.00008, "
    "max_input_tokens: 128000, priority: 0, access_groups: [all]}}\n"
    "router_settings:\n  num_retries: 0\n  fallbacks: [{{o3-pro: [gpt-5]}}]\n"
)


async def main(folder: Path) -> None:
    """Start everything, and take all pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    # PostgreSQL does not run as root, and its user must be able to enter.
    servers = Path(tempfile.mkdtemp(prefix="lumni-"))
    servers.chmod(0o711)
    try:
        async with (
            started(Postgres(servers / "postgres", settings=UNSAFE)) as database,
            started(Valkey(servers / "valkey", settings={"appendonly": "no"})) as valkey,
            simulator.spawned() as provider,
        ):
            await migrate(database.url)
            async with postgres.pool(database.url, timeout_s=60) as pool:
                now = datetime.now(UTC)
                for lasts, count in (
                    (timedelta(days=30), 6000),
                    (timedelta(days=1), 3000),
                    (timedelta(hours=1), 250),
                ):
                    await traffic.write(
                        pool, _cached_or_cut(list(traffic.requests(now, lasts, count, seed=count)))
                    )
            async with (
                stacks.running(
                    servers / "stack",
                    database=database.url,
                    valkey=valkey,
                    simulator=provider.url,
                    fleet=FLEET,
                    arrangement="together",
                ) as stack,
                browsing() as browser,
            ):
                await _call(stack)
                await _pictures(stack, browser, folder)
    finally:
        shutil.rmtree(servers)


def _cached_or_cut(happened: list[Happened]) -> list[Happened]:
    """The same traffic, in which the cache gives one answer in nine and one in seventy is cut short."""
    answers = [one.attempts[0] for one in happened if len(one.attempts) == 1]
    for event in answers[::9]:
        event.kind = events_pb2.USAGE_KIND_CACHED
        event.saved_nano_usd, event.attempt.cost_nano_usd = event.attempt.cost_nano_usd, 0
        event.attempt.duration_ms = event.attempt.first_chunk_ms = CACHED_MS
    for event in answers[1::70]:
        event.kind = events_pb2.USAGE_KIND_PARTIAL
    return happened


async def _call(stack: Stack) -> None:
    """Call every model, so that it has health and less headroom, and make some keys."""
    async with httpx.AsyncClient(base_url=stack.rest, timeout=60, trust_env=False) as http:
        models = [one.name for one in (*traffic.FAST, *traffic.POWERFUL)]
        for number in range(REAL):
            model = "o3-pro" if number % 8 == 0 else models[number % len(models)]
            await http.post(
                "/v1/chat/completions",
                headers=stack.headers,
                json={"model": model, "messages": [{"role": "user", "content": f"Count to {number}."}]},
            )
        for user in ("ann", "ben", "carla", "deniz"):
            await http.post(
                "/admin/keys",
                headers={"authorization": f"Bearer {ADMIN_KEY}"},
                json={"user_id": user, "organization_id": "acme", "budget_usd": "25", "rpm_limit": 60},
            )


async def _pictures(stack: Stack, browser: Browser, folder: Path) -> None:
    for name, size, scheme in LOOKS:
        context = await browser.new_context(
            base_url=stack.rest, viewport=size, color_scheme=scheme, device_scale_factor=1
        )
        page = await context.new_page()
        await page.goto("/dashboard")
        await page.screenshot(path=folder / f"{name}-sign-in.png")
        await page.get_by_label("Admin key or viewer key").fill(ADMIN_KEY)
        await page.get_by_role("button", name="Sign in").click()
        await _take(page, folder / f"{name}-overview.png")
        for path in ("requests", "models", "spend", "spend?by=model", "keys", "playground"):
            await page.goto(f"/dashboard/{path}")
            await _take(page, folder / f"{name}-{path.replace('?by=', '-')}.png")
        await page.goto("/dashboard/requests?outcome=retried&category=code")
        await page.locator("tbody a").first.click()
        await _take(page, folder / f"{name}-request.png")
        await page.goto("/dashboard/keys")
        await page.locator("tbody a").first.click()
        await _take(page, folder / f"{name}-key.png")
        await page.goto("/dashboard/playground")
        await page.get_by_label("Prompt").fill(
            "Write a function that finds the longest palindrome of a text."
        )
        await page.get_by_label("Beside it").select_option("gpt-4o-mini")
        await page.get_by_role("button", name="Decide and answer").click()
        await page.locator("[data-answer]").nth(1).wait_for()
        await _take(page, folder / f"{name}-answers.png")
        await context.close()


async def _take(page: Page, path: Path) -> None:
    await page.wait_for_load_state("load")
    await page.screenshot(path=path, full_page=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER))
