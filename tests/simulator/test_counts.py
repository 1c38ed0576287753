"""The counts are the ground truth, so they must be exact: under concurrency, with faults, for every shape."""

import asyncio
import random
from collections import Counter

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.simulator import running, spawned
from tests.simulator.anthropic import Messages
from tests.simulator.behaviour import parse
from tests.simulator.gemini import Generate
from tests.simulator.openai import Chat, Completions, Responses
from tests.simulator.plan import Format
from tests.simulator.request import Request


async def test_counts_are_exact_among_concurrent_callers_that_fail_and_leave() -> None:
    chance = random.Random(7)
    behaviours = ["tokens-5", "500", "cut-4", "drip-1", "hang", "429", "nousage"]
    asked = [(f"m-sim-{chance.choice(behaviours)}", chance.random() < 0.5) for _ in range(120)]
    statuses: Counter[int] = Counter()
    tokens = 0

    async def ask(http: httpx.AsyncClient, model: str, stream: bool) -> None:
        nonlocal tokens
        options = {"stream": stream, "stream_options": {"include_usage": True}}
        body = {"model": model, "messages": [{"role": "user", "content": "Say this"}]} | (
            options if stream else {}
        )
        try:
            response = await http.post("/v1/chat/completions", json=body, timeout=60)
        except httpx.TransportError:
            statuses[0] += 1
            return
        statuses[response.status_code] += 1
        if response.status_code == 200 and "nousage" not in model:
            last = response.text.split("data: ")[-2] if stream else response.text
            tokens += orjson.loads(last)["usage"]["completion_tokens"]

    limits = httpx.Limits(max_connections=None)
    async with (
        running() as simulator,
        httpx.AsyncClient(base_url=simulator.url, limits=limits, trust_env=False) as http,
    ):
        tasks = [asyncio.create_task(ask(http, *each)) for each in asked]
        left = [task for task, (model, _) in zip(tasks, asked, strict=True) if "hang" in model]
        await asyncio.gather(*(task for task in tasks if task not in left))
        await simulator.until(lambda counts: counts["in_flight"] == len(left))
        for task in left:
            task.cancel()
        await asyncio.wait(left)
        counts = await simulator.until(lambda counts: counts["in_flight"] == 0)

    models = Counter(model for model, _ in asked)
    assert counts["requests"] == len(asked) == sum(sums["requests"] for sums in counts["outcomes"].values())
    assert {
        name: sum(sums["requests"] for sums in of.values()) for name, of in counts["models"].items()
    } == models
    assert counts["outcomes"]["refused"]["requests"] == statuses[500] + statuses[429]
    assert counts["outcomes"]["abandoned"]["requests"] == models["m-sim-hang"]
    assert counts["outcomes"]["broken"]["requests"] == models["m-sim-cut-4"]
    answered = counts["outcomes"]["answered"]
    unreported = 16 * models["m-sim-nousage"]
    assert answered["requests"] == statuses[200]
    assert answered["completion_tokens"] == tokens + unreported
    assert answered["prompt_tokens"] == 5 * statuses[200]


async def test_requests_are_remembered_with_headers_and_bodies_until_the_reset() -> None:
    async with running() as simulator, httpx.AsyncClient(base_url=simulator.url, trust_env=False) as http:
        body = {"model": "m", "messages": [{"role": "user", "content": "Say this"}], "odd": {"field": 1}}
        await http.post("/v1/chat/completions", json=body, headers={"authorization": "Bearer key-1"})
        await http.post("/v1/chat/completions", json=body | {"model": "other"})
        first, second = await simulator.requests()
        (last,) = await simulator.requests(last=1)
        await simulator.reset()

        assert first["body"] == body
        assert first["headers"]["authorization"] == "Bearer key-1"
        assert (first["outcome"], first["status"], first["completion_tokens"]) == ("answered", 200, 16)
        assert last == second
        assert await simulator.requests() == []
        assert (await simulator.counts())["requests"] == 0


async def test_of_a_large_body_only_the_size_is_remembered() -> None:
    async with running() as simulator, httpx.AsyncClient(base_url=simulator.url, trust_env=False) as http:
        body = {"model": "m", "messages": [{"role": "user", "content": "x" * 5_000_000}]}
        await http.post("/v1/chat/completions", json=body)
        (seen,) = await simulator.requests()

    assert (seen["body"], seen["outcome"]) == (None, "answered")
    assert seen["body_bytes"] > 5_000_000


@pytest.mark.parametrize("provider", [Chat(), Completions(), Responses(), Messages(), Generate()])
@given(
    tokens=st.integers(1, 40),
    reasoning=st.integers(0, 10),
    think=st.integers(0, 5),
    cap=st.integers(1, 50),
    choices=st.integers(1, 3),
    tools=st.booleans(),
)
def test_the_pieces_of_a_stream_carry_exactly_the_tokens_that_are_billed(
    provider: Format, tokens: int, reasoning: int, think: int, cap: int, choices: int, tools: bool
) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    function = {"name": "weather", "parameters": schema, "input_schema": schema}
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": "Say this"}],
        "input": "Say this",
        "prompt": "Say this",
        "contents": [{"parts": [{"text": "Say this"}]}],
        "max_tokens": cap,
        "max_output_tokens": cap,
        "generationConfig": {"maxOutputTokens": cap, "candidateCount": choices},
        "n": choices,
        "tools": [function | {"functionDeclarations": [function]}] if tools else [],
    }
    asked = provider.read(Request(body, "/models/m:streamGenerateContent", "0"))
    plan = provider.stream(asked, parse(f"tokens-{tokens}-reasoning-{reasoning}-think-{think}"))
    whole = provider.whole(asked, parse(f"tokens-{tokens}-reasoning-{reasoning}-think-{think}"))

    assert (
        sum(part.tokens for part in plan.parts)
        == plan.tokens.completion_tokens
        == whole.tokens.completion_tokens
    )
    assert plan.tokens.completion_tokens <= cap * asked.choices
    assert all(part.tokens >= 0 for part in plan.parts)


async def test_a_process_of_its_own_counts_the_same_and_ends_with_the_block() -> None:
    async with spawned() as simulator:
        async with httpx.AsyncClient(base_url=simulator.url, trust_env=False) as http:
            asked = {"model": "m", "messages": [{"role": "user", "content": "Say this"}]}
            await asyncio.gather(*(http.post("/v1/chat/completions", json=asked) for _ in range(50)))

            assert (await simulator.counts())["outcomes"]["answered"]["requests"] == 50
        url = simulator.url
    async with httpx.AsyncClient(trust_env=False) as http:
        with pytest.raises(httpx.ConnectError):
            await http.get(f"{url}/sim/counts")
