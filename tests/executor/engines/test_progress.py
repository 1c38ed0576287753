"""Both engines note how far a call came, and blame nobody for what was never sent."""

from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from services.chassis.operations import Operation
from services.executor.engines.base import Call, Engine, Phase
from services.executor.engines.direct import DirectEngine
from services.executor.engines.litellm_sdk import LiteLLMEngine
from services.executor.engines.outcomes import ErrorClass, Failed
from services.local.ports import free
from tests.executor.conftest import KEY
from tests.executor.fleet import deployment
from tests.simulator import Simulator

PROVIDERS = ["openai", "anthropic", "gemini"]


@pytest.fixture(params=["fast", "general"])
def engine(request: pytest.FixtureRequest, direct_engine: DirectEngine, litellm_engine: LiteLLMEngine) -> Any:
    """Each engine in turn."""
    return direct_engine if request.param == "fast" else litellm_engine


def call_of(url: str, provider: str, **params: Any) -> Call:
    return Call(
        deployment=replace(deployment(url, provider), params=params),
        key=KEY,
        operation=Operation.CHAT,
        body={"messages": [{"role": "user", "content": "hi"}]},
        stream=False,
        timeout_s=10,
    )


async def failure_of(engine: Engine, call: Call) -> Failed:
    with pytest.raises(Failed) as caught:
        async with aclosing(engine.call(call)) as pieces:
            async for _ in pieces:
                pass
    return caught.value


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_call_that_is_answered_was_sent(engine: Engine, provider: str, simulator: Simulator) -> None:
    call = call_of(simulator.url, provider)

    async with aclosing(engine.call(call)) as pieces:
        assert 1 == len([piece async for piece in pieces])

    assert call.progress.sent


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_provider_that_cannot_be_reached_bills_nothing(engine: Engine, provider: str) -> None:
    call = call_of(f"http://127.0.0.1:{free()}", provider)

    failed = await failure_of(engine, call)

    assert (ErrorClass.CONNECTION, False) == (failed.error, failed.billed)
    assert Phase.CONNECTING is call.progress.phase


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        (Operation.IMAGE_GENERATION, {"prompt": "A boat"}),
        (Operation.AUDIO_SPEECH, {"input": "Good morning.", "voice": "alloy"}),
    ],
)
@pytest.mark.parametrize("provider", ["gemini", "vertex_ai"])
async def test_what_litellm_would_send_past_our_connections_is_refused(
    provider: str,
    operation: Operation,
    body: dict[str, Any],
    litellm_engine: LiteLLMEngine,
    simulator: Simulator,
) -> None:
    call = replace(call_of(simulator.url, provider), operation=operation, body=body)

    failed = await failure_of(litellm_engine, call)

    assert (ErrorClass.UNSUPPORTED, False) == (failed.error, failed.billed)
    assert f"{operation} is not offered with {provider}" in failed.message
    assert not call.progress.sent
    assert 0 == (await simulator.counts())["requests"]


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    ("url", "params"),
    [
        ("http://[", {}),
        ("http://127.0.0.1:99999999", {}),
        ("ftp://127.0.0.1:1", {}),
        ("{simulator}", {"extra_headers": {"x-team": "a\r\nb: c"}}),
    ],
)
async def test_a_deployment_that_is_misconfigured_is_not_the_providers_failure(
    engine: Engine, provider: str, url: str, params: dict[str, Any], simulator: Simulator
) -> None:
    call = call_of(url.format(simulator=simulator.url), provider, **params)

    with pytest.raises(Exception) as caught:  # noqa: PT011  (an attempt sorts whatever else it is)
        async with aclosing(engine.call(call)) as pieces:
            async for _ in pieces:
                pass

    assert not call.progress.sent
    if isinstance(caught.value, Failed):
        assert caught.value.error in (ErrorClass.INTERNAL, ErrorClass.UNSUPPORTED), caught.value
        assert not caught.value.billed
    assert 0 == (await simulator.counts())["requests"]
