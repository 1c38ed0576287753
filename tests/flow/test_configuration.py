"""The version of the configuration that a gateway serves, and that its decisions were made by."""

import asyncio

import httpx
import pytest

from tests.flow.stack import ADMIN_KEY, Stack
from tests.flow.test_cli import lumni

pytestmark = pytest.mark.asyncio(loop_scope="session")
ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}


async def test_the_version_that_a_gateway_serves_is_that_of_its_decisions(
    stack: Stack, http: httpx.AsyncClient
) -> None:
    assert 403 == (await http.get("/admin/configuration")).status_code
    served = (await http.get("/admin/configuration", headers=ADMIN)).json()
    said = (await http.get("/admin/configuration/facts", headers=ADMIN)).json()
    body = {"model": "small", "messages": [{"role": "user", "content": "Which version?"}]}
    answer = (await http.post("/v1/chat/completions", json=body)).json()["lumni"]

    version = served["version"]
    assert version == said["version"] == answer["configuration"]
    assert {version} == {one["version"] for one in served["replicas"]}
    assert "small@openai" in {name.split(".")[1] for name in said["facts"] if name.startswith("deployments.")}
    async with asyncio.timeout(60):
        while not (
            (found := await http.get(f"/admin/requests/{answer['request_id']}", headers=ADMIN)).status_code
            == 200
            and found.json()["selection"]
        ):
            await asyncio.sleep(0.05)
    assert version == found.json()["selection"]["configuration"]
    code, out, _ = await lumni(stack, "config", "status")
    assert (0, True) == (code, version in out)
