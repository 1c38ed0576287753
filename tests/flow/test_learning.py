"""From an answer and an opinion of it to what the classifier can be refitted on."""

import asyncio
import json

import httpx
import pytest

from tests.flow.stack import ADMIN_KEY

pytestmark = pytest.mark.asyncio(loop_scope="session")
ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}


def request(task_type: str, text: str) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": text}], "lumni": {"task_type": task_type}}


async def test_feedback_on_fast_answers_becomes_examples_without_text(http: httpx.AsyncClient) -> None:
    words = ("canary-good", "canary-bad", "canary-powerful")
    tiers = ("fast", "fast", "powerful")
    for word, tier, value in zip(words, tiers, (8, -5, 9), strict=True):
        answer = await http.post("/v1/chat/completions", json=request(tier, f"Tell me about {word}."))
        given = {"request_id": answer.headers["x-request-id"], "value": value}
        assert (await http.post("/v1/feedback", json=given)).json() == {"status": "success"}

    async with asyncio.timeout(15):
        while len(lines := (await http.get("/admin/learning", headers=ADMIN)).text.splitlines()) < 2:
            await asyncio.sleep(0.1)
    examples = [json.loads(line) for line in lines]
    # The powerful model's praise says nothing of the fast one.
    assert [0, 1] == sorted(example["outcome"] for example in examples)
    assert all(len(example["features"]) > 50 for example in examples)
    assert all(0 <= example["score"] <= 1 for example in examples)
    assert "canary" not in "".join(lines)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "request_id"),
        ({"request_id": "r", "value": 11}, "value"),
        ({"request_id": "r", "value": True}, "value"),
    ],
)
async def test_wrong_feedback_is_named(http: httpx.AsyncClient, body: dict[str, object], param: str) -> None:
    response = await http.post("/v1/feedback", json=body)

    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


async def test_what_was_learnt_is_for_the_admin(http: httpx.AsyncClient) -> None:
    assert (await http.get("/admin/learning")).status_code == 403
    assert (await http.get("/admin/learning", headers={"authorization": ""})).status_code == 401
