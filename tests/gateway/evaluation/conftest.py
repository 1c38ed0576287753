"""One simulated gateway for each test."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from tests.gateway.evaluation.fake_gateway import FakeGateway


@pytest.fixture
async def gateway() -> AsyncIterator[FakeGateway]:
    fake = FakeGateway()
    app = web.Application()
    app.router.add_get("/v1/models", fake.models)
    app.router.add_get("/v1/models/{name}", fake.model)
    app.router.add_get("/admin/evaluation/prompts", fake.drawn)
    app.router.add_get("/admin/evaluation/prompts/{request_id}", fake.prompt)
    app.router.add_post("/v1/chat/completions", fake.chat)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield fake
    await runner.cleanup()
