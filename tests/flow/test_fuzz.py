"""A short search over the gateway's routes and RPCs, the same every time, and what was found there before."""

import asyncio

import httpx
import pytest
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings

from tests.flow.stack import ADMIN_KEY, Stack
from tests.fuzz import cases, rest, rpcs, served

MODELS = ("small", "large")
ABOUT = rpcs.known(MODELS, tuple(f"{model}@openai" for model in MODELS))
HERE = ("gateway", "keys")
CASES = {name: (rpc, request) for name, rpc, request in cases.of_rpcs() if rpc.served_by in HERE}
# A request takes a hundred times as long as one of the other services' does.
SHORT = settings(max_examples=8, suppress_health_check=list(HealthCheck))


def check(stack: Stack, rpc: rpcs.Rpc, request: Message) -> str:
    """Call a method, and look at its answer."""

    async def call() -> str:
        async with served.channel(stack.grpc) as channel:
            return await rpcs.check(channel, rpc, request, {"authorization": f"Bearer {ADMIN_KEY}"})

    return asyncio.run(call())


@pytest.mark.parametrize("name", [name for name, rpc in rpcs.RPCS.items() if rpc.served_by in HERE])
def test_no_message_is_answered_with_a_mistake_of_ours(stack: Stack, name: str) -> None:
    @SHORT
    @given(rpcs.requests(rpcs.RPCS[name], ABOUT))
    def search(request: Message) -> None:
        check(stack, rpcs.RPCS[name], request)

    search()


@pytest.mark.parametrize("name", CASES)
def test_what_was_found_once_holds(stack: Stack, name: str) -> None:
    check(stack, *CASES[name])


def test_no_request_is_answered_with_a_mistake_of_ours(stack: Stack) -> None:
    with httpx.Client(base_url=stack.rest, trust_env=False) as http:
        for operation in rest.operations(http.get("/openapi.json").json()).values():

            @SHORT
            @given(rest.requests(operation))
            def search(sent: rest.Sent) -> None:
                rest.check(http, sent, ADMIN_KEY)

            search()
        for _, kept in cases.of_parser("rest"):
            rest.check(http, rest.Sent.from_bytes(kept), ADMIN_KEY)
