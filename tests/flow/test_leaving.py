"""A caller who leaves a stream ends it at the provider, whatever the format."""

from typing import Any

import httpx
import pytest

from tests.simulator import Simulator

pytestmark = pytest.mark.asyncio(loop_scope="session")
TURN = [{"role": "user", "content": "Tell me a long story."}]
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": TURN},
    "/v1/messages": {"messages": TURN, "max_tokens": 1000},
    "/v1/responses": {"input": "Tell me a long story."},
    "/v1/completions": {"prompt": "Tell me a long story.", "max_tokens": 1000},
}


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("model", ["large", "native"])
async def test_a_caller_who_leaves_ends_the_providers_stream(
    http: httpx.AsyncClient, provider: Simulator, path: str, model: str
) -> None:
    before = (await provider.counts())["closed_early"]
    await provider.script(model, standing="tokens-2000-drip-20")
    try:
        async with http.stream("POST", path, json={**BODIES[path], "model": model, "stream": True}) as answer:
            assert 200 == answer.status_code
            async for line in answer.aiter_lines():
                if "Echo" in line:
                    break
        counts = await provider.until(lambda counts: counts["closed_early"] > before)
    finally:
        await provider.script(model, standing="")

    assert before + 1 == counts["closed_early"]
