"""Prompts that are taken from Portkey and given to it, through its SDK."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from portkey_ai.api_resources.exceptions import BadRequestError

from services.gateway.cli import commands
from services.gateway.cli.client import RefusedError
from tests import portkey
from tests.flow.stack import ADMIN_KEY, Stack
from tests.gateway.conftest import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_prompts_come_from_portkey_and_go_there_and_nothing_is_doubled(
    stack: Stack,
    admin: httpx.AsyncClient,
    portkey_client: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with portkey.serving("pk-prompts") as fake:
        monkeypatch.setenv("PORTKEY_API_KEY", "pk-prompts")
        monkeypatch.setenv("PORTKEY_BASE_URL", f"{fake.address}/v1")
        monkeypatch.setenv("LUMNI_URL", stack.rest)
        monkeypatch.setenv("LUMNI_ADMIN_KEY", ADMIN_KEY)
        there = fake.prompts
        canary = there.add_label("Canary")
        there.add_partial("pp-tone", "Be {{tone}}.", "Be so {{tone}}.")
        said = [
            {"role": "system", "content": "Help.{{>pp-tone}}"},
            {"role": "user", "content": [{"type": "text", "text": "{{#who}}I am {{who}}.{{/who}}"}]},
        ]
        version = {
            "string": json.dumps(said),
            "parameters": {"temperature": 0.5, "stream": True},
            "model": "small",
            "virtual_key": "vk-1",
            "version_description": "first",
        }
        other = {**version, "string": "Say {{what}}", "version_description": None, "label_id": canary}
        there.add("pp-help-1", version, other, default=1)
        there.add("pp-empty", {**version, "string": "[]"})
        there.add("pp-third", version)

        async def run(*arguments: str) -> list[str]:
            # Not as a process each: the SDK takes seconds to import.
            await asyncio.to_thread(commands.app, ["prompts", *arguments], standalone_mode=False)
            return capsys.readouterr().out.splitlines()

        lines = await run("import-portkey")
        # Two prompts and a partial.
        assert "3 new, 2 versions, 1 labels, 0 unchanged" == lines[0]
        for told in ("pp-help-1@1: virtual_key", "pp-help-1@1: parameters.stream"):
            assert f"  {told}" in lines
        assert any(line.startswith("  pp-empty@1: messages") for line in lines)

        # The same code of a client gets the same prompts here.
        async def rendered(ident: str, **variables: str) -> Any:
            return (await portkey_client.prompts.render(prompt_id=ident, variables=variables)).data

        found = await rendered("pp-help-1", tone="kind", who="Ann")
        assert "Help.Be kind." == found.messages[0].content
        assert "I am Ann." == found.messages[1].content[0]["text"]
        assert ("small", 0.5) == (found.model, found.temperature)
        assert "Say hi" == (await rendered("pp-help-1@canary", what="hi")).messages[0].content
        assert "Say " == (await rendered("pp-help-1@2")).messages[0].content

        assert "0 new, 0 versions, 0 labels" in (await run("import-portkey"))[0]
        there.prompts["pp-help-1"].default = 2
        assert "0 new, 0 versions, 1 labels" in (await run("import-portkey", "pp-help-1"))[0]

        async def has_moved() -> bool:
            # A gateway knows of a label that was moved a moment later.
            try:
                return bool("Say hi" == (await rendered("pp-help-1", what="hi")).messages[0].content)
            except BadRequestError:
                return False

        await eventually(has_moved)

        content = {"messages": [{"role": "user", "content": "Bye {{name}}"}], "variables": {"name": {}}}
        made = (await admin.post("/admin/prompts", json={"name": "bye", "content": content})).json()
        with pytest.raises(RefusedError, match="needs --collection"):
            await run("export-portkey", "bye")
        where = ("export-portkey", "bye", "--collection", "c1", "--virtual-key", "vk-1")
        assert "1 new, 0 versions" in (await run(*where))[0]
        assert "0 new, 0 versions" in (await run(*where))[0]
        # What came from there is the same there; and what went there does not come back as another prompt.
        assert "0 new, 0 versions" in (await run("export-portkey", "pp-help-1"))[0]
        assert "0 new, 0 versions, 0 labels" in (await run("import-portkey"))[0]

        changed = {"content": content | {"parameters": {"temperature": 0}}, "revision": made["revision"]}
        await admin.post("/admin/prompts/bye/versions", json={**changed, "label": "production"})
        assert "0 new, 1 versions" in (await run(*where))[0]
        (gone,) = [one for one in there.prompts.values() if one.name == "bye"]
        assert (2, 2, "Lumni bye@2") == (
            gone.default,
            len(gone.versions),
            gone.number(2)["version_description"],
        )
        assert "0 new, 0 versions, 0 labels" in (await run("import-portkey"))[0]
        rows = (await admin.get("/admin/prompts", params={"limit": 1000})).json()["data"]
        names = [row["name"] for row in rows]
        assert len(names) == len(set(names))
        assert {"bye", "pp-help-1", "pp-tone", "pp-third"} <= set(names)
        for row in sorted(rows, key=lambda row: row["kind"], reverse=True):
            if row["name"] in ("bye", "pp-help-1", "pp-tone", "pp-third"):
                params = {"revision": row["revision"]}
                gone_now = await admin.delete(f"/admin/prompts/{row['prompt_id']}", params=params)
                assert 200 == gone_now.status_code, gone_now.text
