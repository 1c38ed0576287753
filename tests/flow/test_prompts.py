"""Prompts: made by admins over REST and by the command line client, used by callers with their own clients."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import asyncpg
import grpc
import httpx
import openai
import pytest
from lumni.gateway.v1 import gateway_pb2, gateway_pb2_grpc

from tests.flow.stack import API_KEY, Stack
from tests.flow.test_cli import lumni
from tests.simulator import Simulator

pytestmark = pytest.mark.asyncio(loop_scope="session")


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


@pytest.fixture
async def greeting(admin: httpx.AsyncClient) -> AsyncIterator[str]:
    """A prompt with a version in production and one that is staged; its name."""
    variables = {"name": {"type": "string"}, "formal": {"type": "boolean", "default": False}}
    content = {
        "messages": [
            {"role": "system", "content": "Greet{{#formal}} formally{{/formal}}.{{> house-rules}}"},
            {"role": "user", "content": "I am {{name}}."},
        ],
        "variables": variables,
        "model": "small",
        "parameters": {"temperature": 0.5, "max_tokens": 20},
    }
    partial = {"name": "house-rules", "kind": "partial", "content": {"text": " Be kind."}}
    house = (await admin.post("/admin/prompts", json=partial)).json()
    made = (await admin.post("/admin/prompts", json={"name": "greeting", "content": content})).json()
    staged = content | {"messages": [{"role": "user", "content": "Staged for {{name}}."}]}
    version = {"content": staged, "revision": 1, "label": "staging"}
    await admin.post("/admin/prompts/greeting/versions", json=version)
    yield "greeting"
    # A partial that a prompt names cannot be deleted.
    for one, revision in ((made, 2), (house, 1)):
        await admin.delete(f"/admin/prompts/{one['prompt_id']}", params={"revision": revision})


async def test_portkeys_client_renders_each_version(portkey_client: Any, greeting: str) -> None:
    async def last(which: str) -> str:
        found = await portkey_client.prompts.render(
            prompt_id=f"{greeting}{which}", variables={"name": "Ann", "formal": True}
        )
        assert found.success
        return str(found.data.messages[-1].content)

    assert ["I am Ann.", "I am Ann.", "Staged for Ann.", "Staged for Ann."] == [
        await last(which) for which in ("", "@1", "@latest", "@staging")
    ]
    whole = await portkey_client.prompts.render(
        prompt_id=greeting, variables={"name": "Ann", "formal": True}, temperature=0.1
    )
    assert "Greet formally. Be kind." == whole.data.messages[0].content
    assert ("small", 0.1, 20) == (whole.data.model, whole.data.temperature, whole.data.max_tokens)


async def test_portkeys_client_completes_whole_and_streamed(
    portkey_client: Any, greeting: str, provider: Simulator
) -> None:
    answer = await portkey_client.prompts.completions.create(
        prompt_id=greeting, variables={"name": "Berta"}, max_tokens=7
    )
    assert answer.choices[0].message.content
    assert f"{greeting}@1" == answer.lumni["prompt"]

    stream = await portkey_client.prompts.completions.create(
        prompt_id=f"{greeting}@staging", variables={"name": "Berta"}, stream=True
    )
    text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
    assert text

    seen = [one["body"] for one in await provider.requests(last=50) if "Berta" in str(one["body"])]
    assert [
        {"role": "system", "content": "Greet. Be kind."},
        {"role": "user", "content": "I am Berta."},
    ] == seen[0]["messages"]
    assert 0.5 == seen[0]["temperature"]
    assert 7 in (seen[0].get("max_tokens"), seen[0].get("max_completion_tokens"))
    assert [{"role": "user", "content": "Staged for Berta."}] == seen[1]["messages"]


async def test_chat_and_responses_name_a_prompt(
    client: openai.AsyncOpenAI, greeting: str, provider: Simulator
) -> None:
    prompt = {"id": greeting, "version": "1", "variables": {"name": "Carl"}}

    chat = await client.chat.completions.create(
        model="small", messages=[{"role": "user", "content": "And?"}], extra_body={"prompt": prompt}
    )
    response = await client.responses.create(model="small", prompt=cast("Any", prompt), input="And?")

    assert chat.choices[0].message.content
    assert response.output_text
    assert {f"{greeting}@1"} == {cast("Any", one).lumni["prompt"] for one in (chat, response)}
    seen = [one["body"] for one in await provider.requests(last=50) if "Carl" in str(one["body"])]
    assert ["Greet. Be kind.", "I am Carl.", "And?"] == [one["content"] for one in seen[0]["messages"]]
    assert all(part in str(seen[1]) for part in ("Greet. Be kind.", "I am Carl.", "And?"))


async def test_the_version_stands_in_the_ledger(stack: Stack, http: httpx.AsyncClient, greeting: str) -> None:
    body = {"variables": {"name": "Dora"}}
    answer = await http.post(f"/v1/prompts/{greeting}/completions", json=body)

    assert 200 == answer.status_code
    connection = await asyncpg.connect(stack.database)
    try:
        async with asyncio.timeout(60):
            while True:
                found = await connection.fetchval(
                    "SELECT metadata ->> 'prompt' FROM usage_records WHERE request_id = $1",
                    answer.headers["x-request-id"],
                )
                if found:
                    break
                await asyncio.sleep(0.05)
    finally:
        await connection.close()
    assert f"{greeting}@1" == found


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        ("/v1/prompts/nobody/render", {"variables": {}}, 404, "prompt"),
        ("/v1/prompts/greeting@9/render", {"variables": {}}, 404, "prompt"),
        ("/v1/prompts/greeting@canary/completions", {"variables": {}}, 404, "prompt"),
        ("/v1/prompts/greeting/render", {}, 400, "variables.name"),
        ("/v1/prompts/greeting/completions", {"variables": {"name": 1}}, 400, "variables.name"),
        ("/v1/prompts/a b/render", {}, 400, "prompt.id"),
        ("/v1/prompts/house-rules/render", {}, 404, "prompt"),
        ("/v1/chat/completions", {"prompt": {"id": "nobody"}}, 404, "prompt"),
        ("/v1/chat/completions", {"prompt": "greeting"}, 400, "prompt"),
        ("/v1/responses", {"prompt": {"id": "greeting", "variables": {"n": 1}}}, 400, "variables.n"),
        ("/v1/route", {"prompt": {"id": "greeting"}}, 400, "variables.name"),
    ],
)
@pytest.mark.usefixtures("greeting")
async def test_wrong_prompts_are_refused_by_name(
    http: httpx.AsyncClient, path: str, body: dict[str, Any], status: int, param: str
) -> None:
    answer = await http.post(path, json=body)

    assert (status, param) == (answer.status_code, answer.json()["error"]["param"])


async def test_grpc_takes_a_prompt_too(stack: Stack, greeting: str) -> None:
    body = {"prompt": {"id": greeting, "variables": {"name": "Emil"}}}
    async with grpc.aio.insecure_channel(stack.grpc) as channel:
        answer = await gateway_pb2_grpc.GatewayServiceStub(channel).Complete(
            gateway_pb2.CompleteRequest(body_json=json.dumps(body)),
            metadata=(("authorization", f"Bearer {API_KEY}"),),
            timeout=30,
        )

    assert f"{greeting}@1" == json.loads(answer.body_json)["lumni"]["prompt"]


async def test_a_folder_of_prompts_is_kept_in_step(stack: Stack, tmp_path: Path) -> None:
    folder, copy = tmp_path / "prompts", tmp_path / "copy"
    folder.mkdir()
    (folder / "folder-sign.md").write_text("---\nkind: partial\n---\n-- Lumni\n")
    (folder / "folder-note.md").write_text(
        "---\nparameters: {seed: 7}\n---\nuser:\nNote this.{{> folder-sign}}\n"
    )

    code, first, errors = await lumni(stack, "prompts", "import", str(folder))
    assert (0, "", "2 new, 0 changed, 0 unchanged\n") == (code, errors, first)
    (folder / "folder-note.md").write_text("---\nparameters: {seed: 8}\n---\nuser:\nNote that.\n")
    _, second, _ = await lumni(stack, "prompts", "import", str(folder), "--label", "production")
    assert "0 new, 1 changed, 1 unchanged\n" == second
    _, third, _ = await lumni(stack, "prompts", "import", str(folder))
    assert "0 new, 0 changed, 2 unchanged\n" == third

    code, _, errors = await lumni(stack, "prompts", "export", str(copy))
    assert (0, "") == (code, errors)
    assert "Note that." in (copy / "folder-note.md").read_text()
    assert "revision" not in (copy / "folder-note.md").read_text()
    _, again, _ = await lumni(stack, "prompts", "import", str(copy))
    assert again.startswith("0 new, 0 changed")
    for name in ("folder-note", "folder-sign"):
        await lumni(stack, "prompts", "delete", name)


async def test_portkeys_client_gives_feedback_by_trace(portkey_client: Any, stack: Stack) -> None:
    traced = portkey_client.with_options(trace_id="chat-of-eve", metadata={"env": "test"})
    answer = await traced.chat.completions.create(
        model="small", messages=[{"role": "user", "content": "How was it?"}]
    )
    ident = answer.lumni["request_id"]

    given = await portkey_client.feedback.create(
        trace_id="chat-of-eve", value=7, weight=0.5, metadata={"why": "short", "stars": 4}
    )
    assert ("success", [ident]) == (given.status, given.feedback_ids)
    again = await portkey_client.feedback.bulk_create(
        feedbacks=[
            {"trace_id": "chat-of-eve", "value": 6},
            {"trace_id": answer.lumni["trace_id"], "value": 5},
        ]
    )
    assert [ident, ident] == again.feedback_ids
    changed = await portkey_client.feedback.update(feedback_id=ident, value=-3, metadata={"why": "wrong"})
    assert [ident] == changed.feedback_ids

    connection = await asyncpg.connect(stack.database)
    try:
        row = await connection.fetchrow("SELECT * FROM feedback WHERE request_id = $1", ident)
    finally:
        await connection.close()
    assert row is not None
    assert (-3, 1.0, {"why": "wrong"}) == (row["value"], row["weight"], json.loads(row["metadata"]))
