"""What operators type: grpcurl by reflection, ghz, and the Python stubs."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from lumni.chat.v1 import chat_pb2
from lumni.gateway.v1 import gateway_pb2, gateway_pb2_grpc

from services.chassis import errors, status
from tests.flow.stack import API_KEY, Stack
from tests.tools import find_or_skip

pytestmark = pytest.mark.asyncio(loop_scope="session")
BEARER = f"authorization: Bearer {API_KEY}"


async def run(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    def wait() -> subprocess.CompletedProcess[str]:
        return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60)

    return await asyncio.to_thread(wait)


async def test_grpcurl_finds_every_service_by_reflection(stack: Stack) -> None:
    grpcurl = find_or_skip("grpcurl")
    for name in ("classifier", "selector", "executor", "gateway"):
        address = stack.grpc if name == "gateway" else stack.listen[name]
        done = await run(grpcurl, "-plaintext", address, "list")

        service = f"lumni.{name}.v1.{name.capitalize()}Service"
        assert {service, "grpc.health.v1.Health"} <= set(done.stdout.split()), done.stderr


async def test_grpcurl_calls_ask_and_classify(stack: Stack) -> None:
    grpcurl = find_or_skip("grpcurl")
    asked = await run(
        grpcurl,
        "-plaintext",
        "-H",
        BEARER,
        "-d",
        '{"prompt": "What is the capital of France?", "model": "small"}',
        stack.grpc,
        "lumni.gateway.v1.GatewayService/Ask",
    )
    answer = json.loads(asked.stdout)
    assert answer["text"]
    assert answer["model"] == "small"
    assert int(answer["cost_nano_usd"]) > 0

    judged = await run(
        grpcurl,
        "-plaintext",
        "-d",
        '{"messages": [{"role": "ROLE_USER", "text": "What is 15 % of 80?"}]}',
        stack.listen["classifier"],
        "lumni.classifier.v1.ClassifierService/Classify",
    )
    assert json.loads(judged.stdout)["classification"]["category"] == "CATEGORY_MATH"


async def test_grpcurl_shows_the_richer_error_model(stack: Stack) -> None:
    grpcurl = find_or_skip("grpcurl")
    done = await run(
        grpcurl, "-plaintext", "-d", '{"prompt": "hi"}', stack.grpc, "lumni.gateway.v1.GatewayService/Ask"
    )

    # grpcurl's exit code is 64 and the status: UNAUTHENTICATED is 16.
    assert done.returncode == 64 + grpc.StatusCode.UNAUTHENTICATED.value[0]
    assert "INVALID_API_KEY" in done.stderr


async def test_ghz_loads_the_classifier_without_a_failure(stack: Stack) -> None:
    ghz = find_or_skip("ghz")
    done = await run(
        ghz,
        "--insecure",
        "--call",
        "lumni.classifier.v1.ClassifierService/Classify",
        "-c",
        "8",
        "-n",
        "200",
        "-O",
        "json",
        "-d",
        '{"messages": [{"role": "ROLE_USER", "text": "What is 15 % of 80?"}]}',
        stack.listen["classifier"],
    )

    assert {"OK": 200} == json.loads(done.stdout)["statusCodeDistribution"], done.stderr


async def test_the_stubs_complete_stream_ask_and_route(stack: Stack) -> None:
    body = json.dumps({"model": "small", "messages": [{"role": "user", "content": "Count to five."}]})
    metadata = (("authorization", f"Bearer {API_KEY}"),)
    async with grpc.aio.insecure_channel(stack.grpc) as channel:
        stub = gateway_pb2_grpc.GatewayServiceStub(channel)
        whole = json.loads(
            (
                await stub.Complete(
                    gateway_pb2.CompleteRequest(body_json=body), metadata=metadata, timeout=60
                )
            ).body_json
        )
        call = stub.StreamComplete(
            gateway_pb2.StreamCompleteRequest(body_json=body), metadata=metadata, timeout=60
        )
        chunks = [json.loads(chunk) async for response in call for chunk in response.chunk_json]
        route = await stub.Route(gateway_pb2.RouteRequest(body_json=body), metadata=metadata, timeout=60)

    text = whole["choices"][0]["message"]["content"]
    assert text == "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"])
    assert whole["lumni"]["cost"]["nano_usd"] == chunks[-1]["lumni"]["cost"]["nano_usd"] > 0
    assert route.selection.candidates[0].deployment == "small@openai"


@pytest.mark.parametrize(
    ("request_", "kind", "param"),
    [
        (gateway_pb2.AskRequest(), errors.Invalid, "prompt"),
        (gateway_pb2.AskRequest(prompt="hi", model="nothing"), errors.NotFound, "model"),
        (gateway_pb2.AskRequest(prompt="hi", temperature=9), errors.Invalid, "temperature"),
        (gateway_pb2.AskRequest(prompt="hi", max_tokens=-1), errors.Invalid, "max_tokens"),
        (
            gateway_pb2.AskRequest(messages=[chat_pb2.Message(text="hi")], system="Be brief."),
            errors.Invalid,
            "system",
        ),
    ],
)
async def test_grpc_callers_get_the_same_faults(
    stack: Stack, request_: gateway_pb2.AskRequest, kind: type[errors.Fault], param: str
) -> None:
    async with grpc.aio.insecure_channel(stack.grpc) as channel:
        stub = gateway_pb2_grpc.GatewayServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Ask(request_, metadata=(("authorization", f"Bearer {API_KEY}"),), timeout=60)

    fault = status.from_rpc(caught.value)
    assert isinstance(fault, kind)
    assert fault.param == param


async def test_lumni_explains_a_decision_in_a_table(stack: Stack) -> None:
    def explain(*more: str) -> subprocess.CompletedProcess[str]:
        lumni = Path(sys.executable).parent / "lumni"
        environ = {"LUMNI_URL": stack.rest, "OPENAI_API_KEY": API_KEY, "PATH": ""}
        command = [str(lumni), "explain", "Prove that there are infinitely many primes.", *more]
        return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)

    done = await asyncio.to_thread(explain, "--tier", "powerful", "--strategy", "cost")
    assert done.returncode == 0, done.stderr
    assert "tier        powerful" in done.stdout
    assert "DEPLOYMENT" in done.stdout
    assert "small@openai" in done.stdout
    assert "strategy    cost" in done.stdout

    wrong = await asyncio.to_thread(explain, "--strategy", "luck")
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("lumni: lumni.strategy: expected one of balanced")
