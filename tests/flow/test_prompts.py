"""Prompts: made by admins over REST and by the command line client."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.flow.stack import ADMIN_KEY, Stack
from tests.flow.test_cli import lumni

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
async def admin(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client with the admin's key."""
    headers = {"authorization": f"Bearer {ADMIN_KEY}"}
    async with httpx.AsyncClient(base_url=stack.rest, headers=headers, timeout=60, trust_env=False) as client:
        yield client


def saying(text: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **more}


async def test_a_prompt_is_made_changed_compared_labelled_and_taken_back(admin: httpx.AsyncClient) -> None:
    body = {"name": "life", "content": saying("one"), "note": "a beginning"}
    made = (await admin.post("/admin/prompts", json=body)).json()
    assert ({"production": 1}, 1) == (made["labels"], made["revision"])

    version = {"content": saying("two"), "revision": 1, "label": "staging"}
    changed = await admin.post("/admin/prompts/life/versions", json=version)
    assert (201, {"production": 1, "staging": 2}) == (changed.status_code, changed.json()["labels"])
    late = await admin.post("/admin/prompts/life/versions", json=version)
    assert (409, "prompt_changed") == (late.status_code, late.json()["error"]["code"])

    diff = (await admin.get("/admin/prompts/life/diff", params={"from": "production"})).json()["diff"]
    assert ["--- life@1", "+++ life@2"] == diff.splitlines()[:2]
    assert {"-one", "+two"} <= set(diff.splitlines())

    moved = await admin.put("/admin/prompts/life/labels/production", json={"version": 2, "revision": 2})
    back = await admin.post("/admin/prompts/life/roll-back", json={"revision": 3})
    assert (2, 1) == (moved.json()["labels"]["production"], back.json()["labels"]["production"])
    shown = (await admin.get("/admin/prompts/life/versions/staging")).json()
    assert (2, saying("two"), "admin") == (shown["version"], shown["content"], shown["created_by"])
    assert [2, 1] == [
        one["version"] for one in (await admin.get("/admin/prompts/life/versions")).json()["data"]
    ]
    unlabelled = await admin.delete("/admin/prompts/life/labels/staging", params={"revision": 4})
    assert {"production": 1} == unlabelled.json()["labels"]

    events = (await admin.get("/admin/audit", params={"subject": f"prompt:{made['prompt_id']}"})).json()[
        "data"
    ]
    assert ["create", "version", "label", "roll_back", "unlabel"] == [
        one["action"].removeprefix("prompt.") for one in reversed(events)
    ]
    await admin.delete("/admin/prompts/life", params={"revision": 5})
    assert 404 == (await admin.get("/admin/prompts/life")).status_code


@pytest.mark.parametrize(
    ("content", "param"),
    [
        (saying("{{name}}"), "variables"),
        (saying("x", parameters={"temperature": 9}), "temperature"),
        (saying("x", tools=[{"type": "function", "function": {"name": "x" * 300}}]), "tools[0].name"),
        ({"messages": [{"role": "user", "content": [{"type": "film"}]}]}, "messages[0].content[0].type"),
        (saying("x\0"), None),
    ],
)
async def test_what_would_fail_each_request_is_refused_when_it_is_made(
    admin: httpx.AsyncClient, content: dict[str, Any], param: str | None
) -> None:
    answer = await admin.post("/admin/prompts", json={"name": "wrong", "content": content})

    assert (400, param) == (answer.status_code, answer.json()["error"]["param"])


async def test_the_command_line_keeps_a_prompt_in_a_file(stack: Stack, tmp_path: Path) -> None:
    file = tmp_path / "letter.md"
    file.write_text(
        "---\nvariables:\n  name: {type: string}\n---\nsystem:\nBe kind.\n\nuser:\nI am {{name}}\n"
    )
    code, made, errors = await lumni(stack, "prompts", "create", str(file))
    assert (0, "") == (code, errors)
    assert "production 1" in made

    _, shown, _ = await lumni(stack, "prompts", "show", "letter")
    mine, theirs = tmp_path / "mine.md", tmp_path / "theirs.md"
    mine.write_text(shown.replace("kind.", "brief."))
    theirs.write_text(shown.replace("kind.", "polite."))
    code, _, errors = await lumni(stack, "prompts", "update", str(mine), "--note", "shorter")
    assert (0, "") == (code, errors)
    code, _, errors = await lumni(stack, "prompts", "update", str(theirs))
    assert (1, True) == (code, "changed meanwhile" in errors)

    _, diff, _ = await lumni(stack, "prompts", "diff", "letter")
    assert {"-Be kind.", "+Be brief."} <= set(diff.splitlines())
    _, labelled, _ = await lumni(stack, "prompts", "label", "letter", "production", "2")
    assert "production 2" in labelled
    _, back, _ = await lumni(stack, "prompts", "roll-back", "letter")
    assert "production 1" in back
    _, listed, _ = await lumni(stack, "prompts", "list")
    assert "letter" in listed
    _, history, _ = await lumni(stack, "prompts", "versions", "letter")
    assert "shorter" in history
    code, _, _ = await lumni(stack, "prompts", "delete", "letter")
    assert 0 == code
