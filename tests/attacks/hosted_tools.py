"""Tools and state of the provider's, asked for past a budget: python -m tests.attacks.hosted_tools.

A key with a budget of 0.005 US dollars sends every field and spelling below, whole and streamed, over REST and gRPC. Each
is refused by the field's name, none reaches the provider, and a function tool is answered within the budget.
"""

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Any

import grpc
import httpx
import orjson
from lumni.gateway.v1 import gateway_pb2, gateway_pb2_grpc

from services.chassis import errors, status
from services.gateway.migrate import migrate
from services.local.postgres import UNSAFE, Postgres
from services.local.server import started
from services.local.valkey import Valkey
from tests import simulator
from tests.flow import stack as stacks
from tests.flow.stack import ADMIN_KEY, Stack
from tests.simulator import Simulator

BUDGET_USD = 0.005
FUNCTION = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


def tool(**fields: Any) -> dict[str, Any]:
    """A body with one tool."""
    return {"tools": [fields]}


# Each with the field that is named.
BODIES: list[tuple[str, dict[str, Any]]] = [
    ("tools[0].type", tool(type="web_search_20250305", name="web_search", max_uses=1000)),
    ("tools[0].type", tool(type="web_fetch_20250910", name="web_fetch")),
    ("tools[0].type", tool(type="code_execution_20250825", name="code_execution")),
    ("tools[0].type", tool(type="computer_20250124", name="computer")),
    ("tools[0].type", tool(type="web_search_preview")),
    ("tools[0].type", tool(type="Web_Search")),
    ("tools[0].type", tool(type="WEB_SEARCH_PREVIEW_2025_03_11")),
    ("tools[0].type", tool(type="file_search", vector_store_ids=["vs_1"])),
    ("tools[0].type", tool(type="code_interpreter", container={"type": "auto"})),
    ("tools[0].type", tool(type="image_generation")),
    ("tools[0].type", tool(type="mcp", server_url="http://127.0.0.1:9", server_label="x")),
    ("tools[0].type", tool(type="url", url="http://127.0.0.1:9", name="x")),
    ("tools[0].type", tool(type="builtin_function", function={"name": "$web_search"})),
    ("tools[0].type", tool(type=["function"])),
    ("tools[0].type", tool(type={"function": 1})),
    ("tools[0].googleSearch", tool(googleSearch={})),
    ("tools[0].googleSearch", tool(type="function", googleSearch={})),
    ("tools[0].google_search", tool(google_search={})),
    ("tools[0].googleSearchRetrieval", tool(googleSearchRetrieval={})),
    ("tools[0].enterpriseWebSearch", tool(enterpriseWebSearch={})),
    ("tools[0].codeExecution", tool(codeExecution={})),
    ("tools[0].code_execution", tool(code_execution={})),
    ("tools[0].urlContext", tool(urlContext={})),
    ("tools[0].url_context", tool(type="function", url_context={})),
    ("tools[0].googleMaps", tool(googleMaps={})),
    ("tools[1].type", {"tools": [FUNCTION, {"type": "web_search"}]}),
    ("TOOLS[0].type", {"TOOLS": [{"type": "web_search"}]}),
    ("functions[0].googleSearch", {"functions": [{"name": "x", "googleSearch": {}}]}),
    ("functions[0]", {"functions": [{"googleSearch": {}}]}),
    ("web_search_options", {"web_search_options": {}}),
    ("webSearchOptions", {"webSearchOptions": {"search_context_size": "high"}}),
    ("WEB_SEARCH_OPTIONS", {"WEB_SEARCH_OPTIONS": {}}),
    ("web-search-options", {"web-search-options": {}}),
    ("extra_body.web_search_options", {"extra_body": {"web_search_options": {}}}),
    ("extraBody.extra_body.store", {"extraBody": {"extra_body": {"store": True}}}),
    ("extra_body.tools[0].type", {"extra_body": {"tools": [{"type": "web_search"}]}}),
    ("extra_body.google.cached_content", {"extra_body": {"google": {"cached_content": "cachedContents/1"}}}),
    ("search_parameters", {"search_parameters": {"mode": "on"}}),
    ("enable_search", {"enable_search": True}),
    ("plugins", {"plugins": [{"id": "web"}]}),
    ("connectors", {"connectors": [{"id": "web-search"}]}),
    ("data_sources", {"data_sources": [{"type": "azure_search"}]}),
    ("mcp_servers", {"mcp_servers": [{"type": "url", "url": "http://127.0.0.1:9"}]}),
    ("mcpServers", {"mcpServers": [{}]}),
    ("container", {"container": {"skills": [{"type": "anthropic", "skill_id": "xlsx"}]}}),
    ("vector_store_ids", {"vector_store_ids": ["vs_1"]}),
    ("previous_response_id", {"previous_response_id": "resp_1"}),
    ("conversation", {"conversation": "conv_1"}),
    ("store", {"store": True}),
    ("Store", {"Store": "true"}),
    ("background", {"background": True}),
    ("cachedContent", {"cachedContent": "cachedContents/1"}),
    ("file_ids", {"file_ids": ["file-1"]}),
    ("context_management", {"context_management": {"edits": [{"type": "compact_20260112"}]}}),
    (
        "context_management",
        {
            "context_management": {
                "edits": [{"type": "clear_thinking_20251015"}, {"type": "compact_20260112"}]
            }
        },
    ),
    ("context_management", {"context_management": {"edits": [], "compaction": True}}),
    ("context_management", {"context_management": [{"type": "compaction"}]}),
    ("tools[0].type", {"tools": [{"type": "namespace", "name": "crm", "tools": []}]}),
    ("speed", {"speed": "fast"}),
    (
        "messages[0].content[0].file.file_id",
        {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}]},
    ),
    (
        "messages[0].content[0].image_url.file_id",
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"file_id": "f"}}]}]},
    ),
    ("messages[0].audio.id", {"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]}),
]
SMALL = BODIES[::4]


async def attack(stack: Stack, provider: Simulator, bodies: list[tuple[str, dict[str, Any]]]) -> int:
    """Send every body in every way; returns how many were refused as they should be."""
    before = (await provider.counts())["requests"]
    refused = 0
    async with httpx.AsyncClient(base_url=stack.rest, timeout=60, trust_env=False) as http:
        made = await http.post(
            "/admin/keys",
            json={"user_id": "mallory", "budget_usd": BUDGET_USD, "budget_period": "total"},
            headers={"authorization": f"Bearer {ADMIN_KEY}"},
        )
        assert 201 == made.status_code, made.text
        headers = {"authorization": f"Bearer {made.json()['key']}"}
        for field, fields in bodies:
            body = {"model": "small", "messages": [{"role": "user", "content": "hi"}], **fields}
            for stream in (False, True):
                answer = await http.post(
                    "/v1/chat/completions", json={**body, "stream": stream}, headers=headers
                )
                error = answer.json().get("error", {})
                assert (400, field) == (answer.status_code, error.get("param")), (body, answer.text[:300])
                refused += 1
            assert field == await _refused_by_grpc(stack, headers["authorization"], body), body
            refused += 1
        called = (await provider.counts())["requests"] - before
        assert called == 0, f"{called} requests reached the provider"
        answer = await http.post(
            "/v1/chat/completions",
            json={
                "model": "small",
                "messages": [{"role": "user", "content": "hi"}],
                "tools": [FUNCTION],
                "store": False,
                "max_tokens": 8,
            },
            headers=headers,
        )
        assert 200 == answer.status_code, answer.text
        assert answer.json()["lumni"]["cost"]["usd"] <= BUDGET_USD
    return refused


async def _refused_by_grpc(stack: Stack, authorization: str, body: dict[str, Any]) -> str | None:
    async with grpc.aio.insecure_channel(stack.grpc) as channel:
        stub = gateway_pb2_grpc.GatewayServiceStub(channel)
        try:
            await stub.Complete(
                gateway_pb2.CompleteRequest(body_json=orjson.dumps(body).decode()),
                metadata=(("authorization", authorization),),
                timeout=60,
            )
        except grpc.aio.AioRpcError as error:
            fault = status.from_rpc(error)
            assert isinstance(fault, errors.Invalid), fault
            return fault.param
    raise AssertionError(f"answered: {body}")


async def main() -> None:
    """The whole attack, on a system of its own."""
    folder = Path(tempfile.mkdtemp(prefix="lumni-attack-"))
    # PostgreSQL does not run as root, and enters the folder as another user.
    folder.chmod(0o711)
    try:
        async with (
            started(Postgres(folder / "postgres", settings=UNSAFE)) as postgres,
            started(Valkey(folder / "valkey", settings={"appendonly": "no"})) as valkey,
            simulator.spawned() as provider,
        ):
            await migrate(postgres.url)
            async with stacks.running(
                folder / "stack", database=postgres.url, valkey=valkey, simulator=provider.url
            ) as stack:
                refused = await attack(stack, provider, BODIES)
    finally:
        shutil.rmtree(folder)
    print(f"{refused} requests refused by name, 0 calls of the provider; function tools are answered")


if __name__ == "__main__":
    asyncio.run(main())
