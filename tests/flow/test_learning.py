"""From an answer and an opinion of it to what the classifier can be refitted on."""

import json

import httpx
import pytest

from tests.flow.stack import ADMIN_KEY, Stack
from tests.flow.test_cli import lumni
from tests.gateway.conftest import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")
ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}


def request(task_type: str, text: str) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": text}], "lumni": {"task_type": task_type}}


async def test_the_command_prints_nothing_but_the_lines(stack: Stack, http: httpx.AsyncClient) -> None:
    # Nothing, when it comes first: not even an empty line, which the refit could not read.
    code, printed, _ = await lumni(stack, "learn")

    assert (0, (await http.get("/admin/learning", headers=ADMIN)).text) == (code, printed)


async def test_feedback_on_fast_answers_becomes_examples_without_text(http: httpx.AsyncClient) -> None:
    words = ("canary-good", "canary-bad", "canary-powerful")
    tiers = ("fast", "fast", "powerful")
    for word, tier, value in zip(words, tiers, (8, -5, 9), strict=True):
        answer = await http.post("/v1/chat/completions", json=request(tier, f"Tell me about {word}."))
        given = {"request_id": answer.headers["x-request-id"], "value": value}
        told = (await http.post("/v1/feedback", json=given)).json()
        assert ("success", [given["request_id"]]) == (told["status"], told["feedback_ids"])

    async def learned() -> bool:
        return len((await http.get("/admin/learning", headers=ADMIN)).text.splitlines()) >= 2

    await eventually(learned)
    lines = (await http.get("/admin/learning", headers=ADMIN)).text.splitlines()
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
        ({"request_id": "r", "value": 1}, "request_id"),
        ({"request_id": "r", "value": 11}, "value"),
        ({"request_id": "r", "value": True}, "value"),
        ({"request_id": "r", "trace_id": "t", "value": 1}, "request_id"),
        ({"trace_id": "t", "value": 1, "weight": 2}, "weight"),
        ({"trace_id": "t", "value": 1, "metadata": []}, "metadata"),
        ({"trace_id": "t", "value": 1, "colour": 1}, "colour"),
    ],
)
async def test_wrong_feedback_is_named(http: httpx.AsyncClient, body: dict[str, object], param: str) -> None:
    response = await http.post("/v1/feedback", json=body)

    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


async def test_feedback_on_another_users_answer_or_on_none_is_not_found(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/chat/completions", json=request("fast", "Tell me about the sea."))
    decision = await http.post("/v1/route", json=request("fast", "Tell me about the sea."))
    made = await http.post("/admin/keys", headers=ADMIN, json={"user_id": "stranger"})
    stranger = {"authorization": f"Bearer {made.json()['key']}"}
    ident = answer.headers["x-request-id"]
    assert (await http.post("/v1/feedback", json={"request_id": ident, "value": 0})).status_code == 200
    for given, who in ((ident, stranger), (decision.headers["x-request-id"], {})):
        response = await http.post("/v1/feedback", headers=who, json={"request_id": given, "value": -1})

        assert response.status_code == 404
        error = response.json()["error"]
        assert ("request_id", "request_not_found") == (error["param"], error["code"])


async def test_feedback_counts_as_a_request(http: httpx.AsyncClient) -> None:
    made = await http.post("/admin/keys", headers=ADMIN, json={"user_id": "eager", "rpm_limit": 1})
    eager = {"authorization": f"Bearer {made.json()['key']}"}
    given = {"request_id": "01890a5d-ac96-774b-bcce-b302099a8057", "value": 1}
    answers = [await http.post("/v1/feedback", headers=eager, json=given) for _ in range(3)]

    # A new minute may begin in between.
    assert {404, 429} == {answer.status_code for answer in answers}


async def test_what_was_learnt_is_for_the_admin(http: httpx.AsyncClient) -> None:
    assert (await http.get("/admin/learning")).status_code == 403
    assert (await http.get("/admin/learning", headers={"authorization": ""})).status_code == 401


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"request_id": "01890a5d-ac96-774b-bcce-b302099a8057", "judge": "small", "share": 0.5}, 404),
        ({"request_id": "r", "judge": "small", "share": 1.5}, 400),
        ({"request_id": "r", "judge": "small"}, 400),
    ],
)
async def test_a_judgement_is_about_an_answer_that_is_learnt_from(
    http: httpx.AsyncClient, body: dict[str, object], status: int
) -> None:
    assert status == (await http.post("/admin/learning/judgements", json=body, headers=ADMIN)).status_code


async def test_what_outcomes_have_taught_and_what_may_be_judged_is_for_the_admin(
    stack: Stack, http: httpx.AsyncClient
) -> None:
    learnt = (await http.get("/admin/learning/evidence", headers=ADMIN)).json()
    params = {"from": "2026-11-22T00:00:00Z", "share": "0.5"}
    to_judge = (await http.get("/admin/learning/judgements/open", headers=ADMIN, params=params)).json()
    code, printed, _ = await lumni(stack, "learned")

    # Nothing is learnt unless somebody says so.
    assert {"object": "learning", "outcomes": [], "comparisons": []} == learnt
    assert [] == to_judge["data"]
    assert (0, True) == (code, printed.startswith("nothing has been learnt yet"))
    for path in ("evidence", "judgements/open"):
        assert (await http.get(f"/admin/learning/{path}")).status_code == 403
