"""A call is made ready once, and nothing of a caller's turns into a switch of LiteLLM's."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from services.chassis import telemetry
from services.chassis.operations import Operation
from services.executor.engines.base import Call
from services.executor.engines.direct import DirectEngine
from services.executor.engines.litellm_sdk import LiteLLMEngine
from services.executor.engines.prepare import Prepared, Preparer, split
from services.executor.engines.proxies import Proxies
from tests.executor.conftest import KEY
from tests.executor.fleet import deployment
from tests.simulator import Simulator

SCHEMA = {
    "type": "json_schema",
    "json_schema": {"name": "n", "schema": {"type": "object", "properties": {"x": {"type": "string"}}}},
}


def call_of(
    url: str, provider: str = "openai", *, operation: Operation = Operation.CHAT, **body: Any
) -> Call:
    return Call(
        deployment=deployment(url, provider),
        key=KEY,
        operation=operation,
        body={"messages": [{"role": "user", "content": "hi"}], **body},
        stream=False,
        timeout_s=10,
    )


class CountingPreparer(Preparer):
    """Counts the calls that it makes ready."""

    def __init__(self) -> None:
        super().__init__({"SIM_KEY": KEY})
        self.count = 0

    @asynccontextmanager
    async def prepared(self, call: Call) -> AsyncIterator[Prepared]:
        self.count += 1
        async with super().prepared(call) as prepared:
            yield prepared


@pytest.mark.parametrize(
    ("provider", "more"),
    # LiteLLM sends a schema to Groq as a tool, which only its entry point can turn back.
    [("openai", {}), ("anthropic", {}), ("groq", {"response_format": SCHEMA})],
)
async def test_a_call_is_prepared_once_whichever_engine_sends_it(
    provider: str, more: dict[str, Any], simulator: Simulator
) -> None:
    preparer = CountingPreparer()
    litellm_engine = LiteLLMEngine(Proxies(), preparer)
    direct_engine = DirectEngine(Proxies(), preparer, litellm_engine)
    sent: list[Prepared] = []
    send = litellm_engine.send
    litellm_engine.send = lambda prepared: sent.append(prepared) or send(prepared)  # type: ignore[method-assign, func-returns-value]

    async with aclosing(direct_engine.call(call_of(simulator.url, provider, **more))) as pieces:
        assert 1 == len([piece async for piece in pieces])

    assert 1 == preparer.count
    assert (1 if more else 0) == len(sent)
    await direct_engine.aclose()
    await litellm_engine.aclose()


@pytest.mark.parametrize("provider", ["openai", "anthropic", "gemini"])
@pytest.mark.parametrize("engine", ["general", "fast"])
async def test_a_deployment_is_sent_the_trace_if_it_is_configured_so_and_no_other_is(
    engine: str, provider: str, simulator: Simulator
) -> None:
    preparer = CountingPreparer()
    general = LiteLLMEngine(Proxies(), preparer)
    fast = DirectEngine(Proxies(), preparer, general)
    call = call_of(simulator.url, provider)
    configured = replace(call.deployment, send_traceparent=True, params={"extra_headers": {"x-team": "blue"}})

    async def send(one: Call) -> None:
        async with aclosing((general if engine == "general" else fast).call(one)) as pieces:
            assert 1 == len([piece async for piece in pieces])

    with telemetry.server_span("call", ""):
        parent = telemetry.traceparent()
        await send(call)
        await send(replace(call, deployment=configured))
    # A probe, say, is of no trace.
    await send(replace(call, deployment=configured))
    headers = [one["headers"] for one in await simulator.requests()]

    assert [None, parent, None] == [one.get("traceparent") for one in headers]
    assert [None, "blue", "blue"] == [one.get("x-team") for one in headers]
    await fast.aclose()
    await general.aclose()


def test_switches_of_litellm_reach_no_provider_and_unknown_fields_travel_as_they_are() -> None:
    arguments, rest = split(call_of("http://x", temperature=0.5, api_base="http://evil", min_p=0.1))

    assert {"messages", "temperature"} == arguments.keys()
    assert {"min_p": 0.1} == rest


def test_a_provider_with_a_format_of_its_own_gets_only_the_fields_that_it_knows() -> None:
    arguments, rest = split(call_of("http://x", "anthropic", top_k=3, min_p=0.1))

    assert 3 == arguments["top_k"]
    assert ("min_p" in arguments, rest) == (False, {})
