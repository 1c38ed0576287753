"""One request's whole story, by its id or its trace: from the admin route, and as `lumni trace` prints it."""

import asyncio

import httpx
import pytest

from tests.flow.stack import ADMIN_KEY, Stack
from tests.flow.test_cli import lumni

pytestmark = pytest.mark.asyncio(loop_scope="session")
ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}
REQUEST = {"model": "breaks", "messages": [{"role": "user", "content": "What is 17 * 23?"}]}


async def story(http: httpx.AsyncClient, identifier: str) -> httpx.Response:
    """The story, once the ledger has written both attempts."""
    async with asyncio.timeout(60):
        while True:
            found = await http.get(f"/admin/requests/{identifier}", headers=ADMIN)
            if found.status_code == 200 and found.json()["selection"] and len(found.json()["attempts"]) == 2:
                return found
            await asyncio.sleep(0.05)


async def test_a_fallback_is_told_by_the_requests_id_and_by_its_trace(
    http: httpx.AsyncClient,
) -> None:
    answer = await http.post("/v1/chat/completions", json=REQUEST)
    request_id, trace_id = answer.headers["x-request-id"], answer.headers["x-lumni-trace-id"]
    told = (await story(http, request_id)).json()

    assert told == (await story(http, trace_id)).json()
    assert (request_id, trace_id) == (told["request_id"], told["selection"]["trace_id"])
    assert [("failed", "breaks@openai"), ("final", "small@openai")] == [
        (one["kind"], one["deployment"]) for one in told["attempts"]
    ]
    cost = answer.json()["lumni"]["cost"]["nano_usd"]
    assert cost == sum(one["cost_nano_usd"] for one in told["attempts"])


async def test_lumni_trace_prints_it(stack: Stack, http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/chat/completions", json=REQUEST)
    request_id = answer.headers["x-request-id"]
    await story(http, request_id)
    code, printed, _ = await lumni(stack, "trace", request_id)

    assert 0 == code
    lines = [line.split() for line in printed.splitlines() if line.strip()]
    assert ["request", request_id] in lines
    assert ["trace", answer.headers["x-lumni-trace-id"]] in lines
    failed, good = (line for line in lines if line[1:2] in (["breaks@openai"], ["small@openai"]))
    assert ["failed", "server_error", "500"] == failed[2:5]
    assert "final" == good[2]


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer sk-lumni-test-key"}])
async def test_a_story_is_for_admins(http: httpx.AsyncClient, headers: dict[str, str]) -> None:
    async with httpx.AsyncClient(base_url=http.base_url, trust_env=False) as stranger:
        answer = await stranger.get("/admin/requests/any", headers=headers)

    assert answer.status_code in (401, 403)


async def test_a_request_that_nobody_made_is_not_found(http: httpx.AsyncClient) -> None:
    answer = await http.get("/admin/requests/0190b0a4-0000-7000-8000-000000000000", headers=ADMIN)

    assert (404, "request_not_found") == (answer.status_code, answer.json()["error"]["code"])
