"""The simple routes, and the same in typed fields over gRPC."""

from typing import Any

import grpc
import httpx
import pytest
from lumni.chat.v1 import chat_pb2
from lumni.gateway.v1 import gateway_pb2, gateway_pb2_grpc

from tests.flow.stack import API_KEY, Stack
from tests.simulator import Simulator

pytestmark = pytest.mark.asyncio(loop_scope="session")
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Name a simple prime."}]


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/llm/simple", {"prompt": MESSAGES[1]["content"], "system": MESSAGES[0]["content"]}),
        ("/llm/chat", {"messages": MESSAGES}),
    ],
)
async def test_the_answer_is_a_text_with_its_model_usage_and_cost(
    http: httpx.AsyncClient, provider: Simulator, path: str, asked: dict[str, Any]
) -> None:
    response = await http.post(path, json={"model": "small", **asked})

    body = response.json()
    assert 200 == response.status_code, response.text
    assert ("small", "small@openai") == (body["model"], body["lumni"]["deployment"])
    assert body["text"]
    usage = body["usage"]
    nano_usd = usage["prompt_tokens"] * 100 + usage["completion_tokens"] * 400
    assert (nano_usd / 1e9, nano_usd) == (body["cost"], body["lumni"]["cost"]["nano_usd"])
    assert f"{body['cost']:.9f}" == response.headers["x-lumni-cost-usd"]
    [sent] = [one for one in await provider.requests() if one["body"].get("messages") == MESSAGES][-1:]
    assert sent["path"].endswith("/chat/completions")


async def test_what_only_a_chat_completion_takes_is_refused_with_where_to_send_it(
    http: httpx.AsyncClient,
) -> None:
    response = await http.post("/llm/simple", json={"prompt": "hi", "tools": []})

    error = response.json()["error"]
    assert (400, "tools") == (response.status_code, error["param"])
    assert "/v1/chat/completions" in error["message"]


@pytest.mark.parametrize(
    "asked",
    [
        {"prompt": MESSAGES[1]["content"], "system": MESSAGES[0]["content"]},
        {
            "messages": [
                chat_pb2.Message(role=chat_pb2.ROLE_SYSTEM, text=MESSAGES[0]["content"]),
                chat_pb2.Message(role=chat_pb2.ROLE_USER, text=MESSAGES[1]["content"]),
            ]
        },
    ],
)
async def test_grpc_callers_ask_the_same_in_typed_fields(
    stack: Stack, http: httpx.AsyncClient, asked: dict[str, Any]
) -> None:
    expected = (await http.post("/llm/chat", json={"model": "small", "messages": MESSAGES})).json()
    async with grpc.aio.insecure_channel(stack.grpc) as channel:
        stub = gateway_pb2_grpc.GatewayServiceStub(channel)
        answer = await stub.Ask(
            gateway_pb2.AskRequest(model="small", **asked),
            metadata=(("authorization", f"Bearer {API_KEY}"),),
            timeout=60,
        )

    assert (expected["text"], "small") == (answer.text, answer.model)
    assert (expected["lumni"]["cost"]["nano_usd"], False) == (answer.cost_nano_usd, answer.unpriced)
