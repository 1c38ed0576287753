"""However a key asks, its request counts against its limits."""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import httpx
import pytest
from lumni.gateway.v1 import gateway_pb2, gateway_pb2_grpc

from services.chassis import errors, status
from tests.flow.stack import ADMIN_KEY, Stack
from tests.simulator.media import silence

CHAT = {"model": "small", "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8}
BODY = '{"model": "small", "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8}'
Way = Callable[[Stack, str], Awaitable[int]]


def rest(path: str, *, sent: Any = None, **more: Any) -> Way:
    return posting(path, json=sent or CHAT | more)


def posting(path: str, **content: Any) -> Way:
    async def ask(stack: Stack, key: str) -> int:
        async with httpx.AsyncClient(base_url=stack.rest, timeout=60, trust_env=False) as http:
            answer = await http.post(path, **content, headers={"authorization": f"Bearer {key}"})
        return answer.status_code

    return ask


def grpc_unary(name: str, request: Any) -> Way:
    async def ask(stack: Stack, key: str) -> int:
        async with grpc.aio.insecure_channel(stack.grpc) as channel:
            call = getattr(gateway_pb2_grpc.GatewayServiceStub(channel), name)
            return await code(call(request, metadata=(("authorization", f"Bearer {key}"),), timeout=60))

    return ask


async def grpc_stream(stack: Stack, key: str) -> int:
    async def chunks() -> None:
        async with grpc.aio.insecure_channel(stack.grpc) as channel:
            stub: Any = gateway_pb2_grpc.GatewayServiceStub(channel)
            request = gateway_pb2.StreamCompleteRequest(body_json=BODY)
            async for _ in stub.StreamComplete(
                request, metadata=(("authorization", f"Bearer {key}"),), timeout=60
            ):
                pass

    return await code(chunks())


async def code(call: Awaitable[Any]) -> int:
    """The HTTP status that a call's end stands for."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        fault = status.from_rpc(error)
        return 429 if isinstance(fault, errors.Exhausted) else 500
    return 200


WAYS: dict[str, Way] = {
    "chat": rest("/v1/chat/completions"),
    "stream": rest("/v1/chat/completions", stream=True),
    "route": rest("/v1/route"),
    "completions": rest("/v1/completions", prompt="Say hello."),
    "embeddings": rest("/v1/embeddings", model="vectors", input="hello"),
    "images": rest("/v1/images/generations", sent={"model": "dall-e", "prompt": "A boat"}),
    "speech": rest("/v1/audio/speech", sent={"model": "tts-1", "voice": "alloy", "input": "Hello."}),
    "transcriptions": posting(
        "/v1/audio/transcriptions",
        data={"model": "whisper-1"},
        files={"file": ("sound.wav", silence("wav", 1000), "audio/wav")},
    ),
    "moderations": rest("/v1/moderations", sent={"model": "judge", "input": "hello"}),
    "messages": rest("/v1/messages"),
    "count_tokens": rest("/v1/messages/count_tokens"),
    "input_tokens": rest("/v1/responses/input_tokens", input="Say hello."),
    "simple": rest("/llm/simple", sent={"model": "small", "prompt": "Say hello.", "max_tokens": 8}),
    "simple chat": rest("/llm/chat"),
    "responses": rest("/v1/responses", input="Say hello."),
    "Complete": grpc_unary("Complete", gateway_pb2.CompleteRequest(body_json=BODY)),
    "StreamComplete": grpc_stream,
    "Ask": grpc_unary("Ask", gateway_pb2.AskRequest(prompt="Say hello.", model="small")),
    "Route": grpc_unary("Route", gateway_pb2.RouteRequest(body_json=BODY)),
}


@pytest.mark.parametrize("way", WAYS)
async def test_the_request_beyond_a_limit_is_refused(stack: Stack, http: httpx.AsyncClient, way: str) -> None:
    # Two, so that a minute that begins anew in between cannot hide the limit.
    made = await http.post(
        "/admin/keys", json={"rpm_limit": 2}, headers={"authorization": f"Bearer {ADMIN_KEY}"}
    )
    codes = [await WAYS[way](stack, made.json()["key"]) for _ in range(5)]

    assert 429 in codes
    assert {200, 429} == set(codes)
    assert 2 <= codes.count(200) <= 4
