"""Experiments: described and started by an admin, and what callers, providers and the ledger see of them."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.flow.stack import ADMIN_KEY, Stack
from tests.gateway.conftest import eventually
from tests.simulator import Simulator

pytestmark = pytest.mark.asyncio(loop_scope="session")
ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}
PATH = "/admin/experiments"


@pytest.fixture
async def admin(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client with the admin's key."""
    async with httpx.AsyncClient(base_url=stack.rest, headers=ADMIN, timeout=60, trust_env=False) as client:
        yield client


async def ask(client: httpx.AsyncClient, text: str, **more: Any) -> dict[str, Any]:
    body = {"messages": [{"role": "user", "content": text}], **more}
    answer = await client.post("/v1/chat/completions", json=body)
    assert 200 == answer.status_code, answer.text
    return answer.json()["lumni"]  # type: ignore[no-any-return]


async def a_user(stack: Stack, admin: httpx.AsyncClient, name: str, organization: str) -> httpx.AsyncClient:
    """A client with a key of its own, whose requests alone take part in an experiment of its organization."""
    await admin.put(f"/admin/organizations/{organization}", json={})
    made = await admin.post("/admin/keys", json={"user_id": name, "organization_id": organization})
    assert 201 == made.status_code, made.text
    headers = {"authorization": f"Bearer {made.json()['key']}"}
    return httpx.AsyncClient(base_url=stack.rest, headers=headers, timeout=60, trust_env=False)


async def test_variants_of_a_model_are_divided_recorded_promoted_and_taken_back(
    stack: Stack, admin: httpx.AsyncClient, provider: Simulator
) -> None:
    described = {
        "name": "models",
        "organization_id": "lab",
        "sticky": "conversation",
        "variants": [
            {"name": "control", "model": "small"},
            {"name": "dear", "model": "large", "parameters": {"temperature": 0.25}},
        ],
    }
    made = await admin.post(PATH, json=described)
    assert (201, "draft") == (made.status_code, made.json()["state"])
    twice = await admin.post(PATH, json=described)
    assert (409, "experiment_exists") == (twice.status_code, twice.json()["error"]["code"])
    async with await a_user(stack, admin, "ann", "lab") as client:
        assert (await ask(client, "before"))["experiment"] is None
        assert "running" == (await admin.post(f"{PATH}/models/start")).json()["state"]

        async def divided() -> bool:
            return (await ask(client, "begun?"))["experiment"] is not None

        await eventually(divided)
        answers = await asyncio.gather(*(ask(client, f"Tell me about {i}.") for i in range(24)))
        counts = Counter(one["experiment"]["variant"] for one in answers)
        assert {"control", "dear"} == counts.keys()
        assert all(
            one["model"] == {"control": "small", "dear": "large"}[one["experiment"]["variant"]]
            for one in answers
        )
        seen = await provider.requests(last=24)
        warm = [one["model"] for one in seen if one["body"].get("temperature") == 0.25]
        assert counts["dear"] == warm.count("large")
        # Who asks for a model himself gets that.
        assert (await ask(client, "Mine.", model="small"))["experiment"] is None

        async def measured() -> bool:
            variants = (await admin.get(f"{PATH}/models/results")).json()["variants"]
            return sum(one["requests"] for one in variants) >= 25

        await eventually(measured)
        results = (await admin.get(f"{PATH}/models/results")).json()
        cost = {one["name"]: one["cost_usd"]["mean"] for one in results["variants"]}
        assert cost["dear"] > 5 * cost["control"] > 0
        assert results["conclusion"].startswith("Too little is known")

        await admin.post(f"{PATH}/models/promote", json={"variant": "dear"})

        async def promoted() -> bool:
            found = [(await ask(client, f"And {i}?"))["experiment"] for i in range(8)]
            return found == [{"name": "models", "variant": "dear"}] * 8

        await eventually(promoted)
        assert "stopped" == (await admin.post(f"{PATH}/models/roll-back")).json()["state"]

        async def as_before() -> bool:
            return (await ask(client, "after"))["experiment"] is None

        await eventually(as_before)
    late = await admin.post(f"{PATH}/models/start")
    assert (409, "experiment_state") == (late.status_code, late.json()["error"]["code"])
    assert (await admin.delete(f"{PATH}/models")).json()["deleted"]


async def test_versions_of_a_prompt_are_divided(
    stack: Stack, admin: httpx.AsyncClient, provider: Simulator
) -> None:
    def saying(text: str) -> dict[str, Any]:
        return {"model": "small", "messages": [{"role": "user", "content": text}]}

    async with await a_user(stack, admin, "eve", "press") as client:
        prompt = {"name": "headline", "organization_id": "press", "content": saying("long")}
        assert 201 == (await admin.post("/admin/prompts", json=prompt)).status_code
        version = {"content": saying("short"), "revision": 1}
        of = {"organization_id": "press"}
        assert (
            201 == (await admin.post("/admin/prompts/headline/versions", json=version, params=of)).status_code
        )
        described = {
            "name": "headlines",
            "organization_id": "press",
            "prompt": "headline",
            "sticky": "conversation",
            "variants": [{"name": "a", "prompt_version": "1"}, {"name": "b", "prompt_version": "latest"}],
        }
        assert 201 == (await admin.post(PATH, json=described)).status_code
        await admin.post(f"{PATH}/headlines/start")
        found = {}

        async def both() -> bool:
            body = {"messages": [{"role": "user", "content": f"About {len(found)}."}]}
            answer = await client.post("/v1/prompts/headline/completions", json=body)
            lumni, (seen,) = answer.json()["lumni"], await provider.requests(last=1)
            if lumni["experiment"] is not None:
                said = seen["body"]["messages"][0]["content"]
                found[lumni["experiment"]["variant"]] = (lumni["prompt"], said)
            return len(found) == 2

        await eventually(both)
        assert {"a": ("headline@1", "long"), "b": ("headline@2", "short")} == found
        # A request that names a version gets it.
        named = await client.post("/v1/prompts/headline@1/completions", json={})
        assert ("headline@1", None) == (named.json()["lumni"]["prompt"], named.json()["lumni"]["experiment"])
    await admin.post(f"{PATH}/headlines/stop")


async def test_experiments_are_for_admins_and_mistakes_are_named(
    http: httpx.AsyncClient, admin: httpx.AsyncClient
) -> None:
    assert 403 == (await http.get(PATH)).status_code
    wrong = await admin.post(
        PATH, json={"name": "x", "variants": [{"name": "a"}, {"name": "b", "weight": -1}]}
    )
    assert (400, "variants[1].weight") == (wrong.status_code, wrong.json()["error"]["param"])
    missing = await admin.get(f"{PATH}/nothing/results")
    assert (404, "experiment_not_found") == (missing.status_code, missing.json()["error"]["code"])
