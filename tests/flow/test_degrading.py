"""Whatever is killed: requests succeed degraded and say so, or fail at once and say when to try again."""

import httpx
import pytest

from tests.flow import stack as stacks
from tests.flow.stack import Stack
from tests.gateway.conftest import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")
REQUEST = {"model": "auto", "messages": [{"role": "user", "content": "What is 17 times 23?"}]}


@pytest.mark.parametrize("name", ["classifier", "selector"])
async def test_without_a_decider_requests_succeed_and_say_so(
    stack: Stack, http: httpx.AsyncClient, name: str
) -> None:
    # The selector's last answer to the same question is remembered.
    whole = (await http.post("/v1/chat/completions", json=REQUEST)).json()
    assert whole["lumni"]["degraded"] == []
    stack.services[name].kill()
    try:
        for stream in (False, True):
            response = await http.post("/v1/chat/completions", json={**REQUEST, "stream": stream})
            assert response.status_code == 200, response.text
            assert response.headers["x-lumni-degraded"] == name
            assert f'"degraded":["{name}"]' in response.text

        async def ready() -> bool:
            return (await http.get("/health/ready")).status_code == 200

        async def known() -> bool:
            return bool((await http.get("/health")).json()["parts"][name] == "down")

        await eventually(ready)
        # What was known of the parts before is told for a moment.
        await eventually(known)
    finally:
        await stack.services[name].start(stacks.START_S)
    await _until_whole(http)


async def test_a_frozen_classifier_delays_only_a_few(stack: Stack, http: httpx.AsyncClient) -> None:
    waited: list[bool] = []

    async def goes_on_without_asking() -> bool:
        decided = (await http.post("/v1/chat/completions", json=REQUEST)).json()["lumni"]
        assert ["classifier"] == decided["degraded"]
        # Either for its whole deadline or for nothing; what else a busy machine delays is no part of it.
        waited.append(decided["latency_ms"]["classify"] > stacks.DECISION_TIMEOUT_S * 1000 / 2)
        return not waited[-1]

    stack.services["classifier"].pause()
    try:
        await eventually(goes_on_without_asking)
        assert any(waited)
    finally:
        stack.services["classifier"].resume()
    await _until_whole(http)


async def test_without_the_executor_callers_learn_when_to_try_again(
    stack: Stack, http: httpx.AsyncClient
) -> None:
    stack.services["executor"].kill()
    try:
        for stream in (False, True):
            response = await http.post("/v1/chat/completions", json={**REQUEST, "stream": stream})

            assert response.status_code == 503
            assert int(response.headers["retry-after"]) >= 1
            assert {"message", "type", "param", "code"} == response.json()["error"].keys()
            assert "127.0.0.1" not in response.text
        assert (await http.get("/health/ready")).status_code == 503
        assert (await http.get("/health/live")).status_code == 200
    finally:
        await stack.services["executor"].start(stacks.START_S)
    await _until_whole(http)


async def _until_whole(http: httpx.AsyncClient) -> None:
    """Wait until a request is answered undegraded again."""

    async def whole() -> bool:
        response = await http.post("/v1/chat/completions", json=REQUEST)
        return response.status_code == 200 and response.json()["lumni"]["degraded"] == []

    await eventually(whole)
