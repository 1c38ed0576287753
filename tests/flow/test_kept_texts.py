"""Prompts and answers that an operator keeps: admins read them, a key and an erasure take them away."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.flow.operated import Operated
from tests.flow.stack import ADMIN_KEY, VIEWER_KEY
from tests.flow.test_cli import lumni
from tests.flow.test_evaluate import evaluate
from tests.otlp import Collector

pytestmark = pytest.mark.asyncio(loop_scope="session")
ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}
PROMPT = "Which river flows through Canaryville?"


async def ask(operated: Operated, key: str) -> tuple[str, str]:
    """A new request's id, and what was answered."""
    body = {"model": "small", "messages": [{"role": "user", "content": PROMPT}]}
    answer = await operated.client.post(
        "/v1/chat/completions", json=body, headers={"authorization": f"Bearer {key}"}
    )
    assert 200 == answer.status_code
    return answer.headers["x-request-id"], answer.json()["choices"][0]["message"]["content"]


async def made(operated: Operated, **settings: Any) -> str:
    answer = await operated.client.post("/admin/keys", json=settings, headers=ADMIN)
    return str(answer.json()["key"])


async def story(operated: Operated, request_id: str, *, texts: bool) -> dict[str, Any]:
    """What is known of a request, when the ledger has it, and its texts if there will be some."""
    async with asyncio.timeout(60):
        while True:
            answer = await operated.client.get(f"/admin/requests/{request_id}", headers=ADMIN)
            if answer.status_code == 200:
                found: dict[str, Any] = answer.json()
                if found["attempts"] and (found["texts"] or not texts):
                    return found
            await asyncio.sleep(0.05)


async def page(operated: Operated, key: str, path: str) -> str:
    """A page of the dashboard, as the holder of a key sees it."""
    async with httpx.AsyncClient(base_url=operated.stack.rest, trust_env=False) as browser:
        form = (await browser.get("/dashboard/sign-in")).text
        token = form.partition('name="csrf" value="')[2].partition('"')[0]
        await browser.post("/dashboard/sign-in", data={"key": key, "csrf": token})
        answer = await browser.get(path)
        assert 200 == answer.status_code
        return answer.text


def files(operated: Operated) -> list[dict[str, Any]]:
    """What is logged of requests."""
    return [json.loads(one.read_text()) for one in operated.folder.glob("*.json")]


async def test_admins_read_prompt_and_answer_until_the_user_is_erased(operated: Operated) -> None:
    request_id, said = await ask(operated, await made(operated, user_id="reader"))
    texts = (await story(operated, request_id, texts=True))["texts"]
    assert PROMPT == texts["request"]["messages"][0]["content"]
    assert said == texts["response"]["choices"][0]["message"]["content"]

    _, printed, _ = await lumni(operated.stack, "trace", request_id)
    assert PROMPT in printed
    path = f"/dashboard/requests/{request_id}"
    assert PROMPT in await page(operated, ADMIN_KEY, path)
    assert PROMPT not in await page(operated, VIEWER_KEY, path)

    erased = await operated.client.delete("/admin/users/reader", headers=ADMIN)
    assert erased.is_success
    assert (await story(operated, request_id, texts=False))["texts"] is None


async def test_users_prompts_are_evaluated_where_their_plan_lets_them_be(
    operated: Operated, tmp_path: Path
) -> None:
    shared, _ = await ask(operated, await made(operated, user_id="shares", plan="shared"))
    other, _ = await ask(operated, await made(operated, user_id="does-not"))
    for ident in (shared, other):
        await story(operated, ident, texts=True)
    file = tmp_path / "r.jsonl"
    given = ["--traffic=1d", "--models=small,large", "--budget=1", f"--results={file}"]
    given += [f"--scores={tmp_path / 's.yaml'}", f"--report={tmp_path / 'r.html'}"]

    without_judge = await evaluate(operated.stack, *given)
    of_another = await evaluate(operated.stack, *given, "--judge=large", "--of-plan=open")
    code, printed, err = await evaluate(operated.stack, *given, "--judge=large")

    assert (1, True) == (without_judge[0], "need --judge" in without_judge[2])
    assert (1, True) == (of_another[0], "'open' does not let prompts be evaluated" in of_another[2])
    assert 0 == code, err
    assert "Sent to small, large: 1 prompts of users of the plan shared, which let" in " ".join(
        printed.split()
    )
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [shared] == next(row["requests"] for row in rows if row["kind"] == "prompts")
    answers = [row for row in rows if row["kind"] == "answer"]
    assert {("small", shared), ("large", shared)} == {(row["model"], row["task"]) for row in answers}
    # What was asked for it is not kept once more, where an erasure of the user would not find it.
    async with asyncio.timeout(60):
        while not (logged := [one for one in files(operated) if one["user_id"] == "lumni-evaluate"]):
            await asyncio.sleep(0.05)
    assert {None} == {one["request"] for one in logged}
    erased = await operated.client.delete("/admin/users/shares", headers=ADMIN)
    assert erased.is_success
    given += ["--judge=large", f"--results={tmp_path / 'new.jsonl'}"]
    assert "no prompt of the plan shared" in (await evaluate(operated.stack, *given))[2]


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"store_prompts": False}, id="key"),
        pytest.param({"plan": "private"}, id="plan"),
        pytest.param({"plan": "private", "store_prompts": True}, id="plan that a key cannot loosen"),
    ],
)
async def test_a_key_that_keeps_nothing_leaves_no_text_anywhere(
    operated: Operated, collector: Collector, settings: dict[str, Any]
) -> None:
    private = await made(operated, user_id="shy", **settings)
    hidden, said = await ask(operated, private)
    # Written in order: when this one is kept, the other one would be.
    shown, _ = await ask(operated, await made(operated, user_id="open"))
    await story(operated, shown, texts=True)

    assert (await story(operated, hidden, texts=False))["texts"] is None
    async with asyncio.timeout(60):
        while not (found := list(operated.folder.glob(f"*_{hidden}.json"))):
            await asyncio.sleep(0.05)
    file = json.loads(found[0].read_text())
    assert (None, None, "shy") == (file["request"], file["response"], file["user_id"])
    # Other requests' spans have their texts.
    root = {"POST /v1/chat/completions"}
    spans = await asyncio.to_thread(collector.wait_for_names, file["trace_id"], root)
    assert not any(text in str(span) for span in spans for text in (PROMPT, said))
