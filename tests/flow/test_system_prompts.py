"""What the operator adds to the system's messages, from `lumni.yaml` to what the provider sees."""

from typing import Any

import httpx
import pytest

from tests.flow.operated import Operated
from tests.flow.stack import ADMIN_KEY
from tests.gateway.conftest import eventually
from tests.simulator import Simulator

pytestmark = pytest.mark.asyncio(loop_scope="session")
ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}
QUESTION = {"role": "user", "content": "Write a Python function that reverses a list, with its unit tests."}
ALL = "Answer briefly.\n\nName your sources.\n\nShow whole files.\n\nUse no tables."


async def a_key(operated: Operated, **settings: Any) -> dict[str, str]:
    made = await operated.client.post("/admin/keys", json={"plan": "searching", **settings}, headers=ADMIN)
    return {"authorization": f"Bearer {made.json()['key']}"}


async def seen(
    operated: Operated, provider: Simulator, key: dict[str, str], **more: Any
) -> tuple[list[str], list[dict[str, Any]]]:
    """What `lumni` says was added to a chat with the model small, and the messages that the provider saw."""
    body = {"model": "small", "messages": [QUESTION], **more}
    answer = await operated.client.post("/v1/chat/completions", json=body, headers=key)
    assert 200 == answer.status_code, answer.text
    (request,) = await provider.requests(last=1)
    return answer.json()["lumni"]["system_prompts"], request["body"]["messages"]


async def test_the_provider_sees_them_once_and_in_order(operated: Operated, provider: Simulator) -> None:
    names, messages = await seen(operated, provider, await a_key(operated))

    assert ["base", "plan:searching", "category:code", "model:small=tables@1"] == names
    assert [{"role": "system", "content": ALL}, QUESTION] == messages


async def test_they_stand_before_the_callers_own_and_repeat_nothing(
    operated: Operated, provider: Simulator
) -> None:
    own = {"role": "system", "content": "You are kind. Name your sources."}
    names, messages = await seen(operated, provider, await a_key(operated), messages=[own, QUESTION])

    said = f"Answer briefly.\n\nShow whole files.\n\nUse no tables.\n\n{own['content']}"
    assert ["base", "category:code", "model:small=tables@1"] == names
    assert [{"role": "system", "content": said}, QUESTION] == messages


async def test_a_request_or_a_key_that_asks_so_has_none(operated: Operated, provider: Simulator) -> None:
    key = await a_key(operated)
    without = await a_key(operated, metadata={"system_prompts": False})
    for who, more in ((key, {"lumni": {"system_prompts": False}}), (without, {})):
        assert ([], [QUESTION]) == await seen(operated, provider, who, **more)


async def test_a_stored_text_changes_with_its_label_and_cannot_be_taken_away(
    operated: Operated, provider: Simulator
) -> None:
    async def change(method: str, path: str, **more: Any) -> httpx.Response:
        return await operated.client.request(method, f"/admin/prompts/tables{path}", headers=ADMIN, **more)

    body = {"content": {"messages": [{"role": "system", "content": "Use one list."}]}, "revision": 1}
    # As long as it cannot be filled, the last good text stays.
    assert 201 == (await change("POST", "/versions", json={**body, "label": "production"})).status_code
    key = await a_key(operated)
    for _ in range(3):
        names, _ = await seen(operated, provider, key)
        assert "model:small=tables@1" in names
    variables = {"how": {"type": "string"}}
    said = {"messages": [{"role": "system", "content": "Use one list, {{how}}."}], "variables": variables}
    assert (
        201
        == (
            await change("POST", "/versions", json={"content": said, "revision": 2, "label": "production"})
        ).status_code
    )

    async def moved() -> bool:
        names, messages = await seen(operated, provider, key)
        return "model:small=tables@3" in names and "Use one list, no tables." in messages[0]["content"]

    await eventually(moved)
    refused = await change("DELETE", "", params={"revision": 3})
    assert (409, "prompt_in_use") == (refused.status_code, refused.json()["error"]["code"])
    assert 200 == (await change("PUT", "/labels/production", json={"version": 1, "revision": 3})).status_code

    async def back() -> bool:
        return "model:small=tables@1" in (await seen(operated, provider, key))[0]

    await eventually(back)
