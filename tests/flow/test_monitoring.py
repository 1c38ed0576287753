"""What operators see of the running whole."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.flow.stack import ADMIN_KEY, Stack
from tests.gateway.conftest import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
async def admin(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the admin key."""
    headers = {"authorization": f"Bearer {ADMIN_KEY}"}
    async with httpx.AsyncClient(base_url=stack.rest, headers=headers, timeout=60, trust_env=False) as client:
        yield client


async def by_deployment(admin: httpx.AsyncClient, path: str) -> dict[str, dict[str, Any]]:
    """The entries of a list by their models."""
    response = await admin.get(path)
    assert response.status_code == 200, response.text
    return {one["model"]: one for one in response.json()["data"]}


@pytest.mark.arrangements
async def test_providers_and_breakers_are_shown_as_calls_found_them(
    http: httpx.AsyncClient, admin: httpx.AsyncClient
) -> None:
    async def ask(model: str) -> None:
        body = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
        assert (await http.post("/v1/chat/completions", json=body)).status_code == 200

    await ask("small")
    # Its fallback answers; after more failures than are allowed the breaker is open.
    for _ in range(5):
        await ask("breaks")

    async def opened() -> bool:
        found = await by_deployment(admin, "/health/circuit-breakers")
        return found["breaks"]["breaker"] == "open" and (await known()) is not None

    async def known() -> float | None:
        latency: float | None = (await by_deployment(admin, "/health/providers"))["small"]["latency_ms"]
        return latency

    await eventually(opened)
    providers = await by_deployment(admin, "/health/providers")
    assert ("ok", "closed", 0) == tuple(
        providers["small"][name] for name in ("state", "breaker", "error_rate")
    )
    assert providers["breaks"]["state"] == "open"
    assert providers["breaks"]["last_error"] == "server_error"
    assert providers["breaks"]["rests_until"] is not None
    assert providers["keyless"]["state"] == "no_key"
    head = (await admin.get("/health/providers")).json()
    assert head["source"] == "redis"
    assert head["counts"]["open"] == 1
    assert sum(head["counts"].values()) == len(head["data"])


async def test_only_admins_see_how_providers_fare(http: httpx.AsyncClient) -> None:
    for path in ("/health/providers", "/health/circuit-breakers"):
        assert (await http.get(path)).status_code == 403
        assert (await http.get(path, headers={"authorization": ""})).status_code == 401
