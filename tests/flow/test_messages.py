"""Anthropic's official client, unchanged, in front of Anthropic's own format and of a model that only chats."""

import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import httpx
import pytest

from tests.executor.requests import PIXEL
from tests.flow.provider_counts import counted_alike
from tests.flow.stack import API_KEY, Stack
from tests.simulator import Simulator

pytestmark = pytest.mark.asyncio(loop_scope="session")
MODELS = ("native", "large")
WEATHER: Any = {
    "name": "get_weather",
    "description": "The weather in a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
TIME: Any = {**WEATHER, "name": "get_time", "description": "The time in a city."}
# What Claude Code sends with every message.
CLEARING = {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}
REMINDER: Any = {"role": "system", "content": [{"type": "text", "text": "Still be brief."}]}
QUESTION: Any = [{"role": "user", "content": "What is the weather in Paris?"}]


@pytest.fixture
async def claude(stack: Stack) -> AsyncIterator[anthropic.AsyncAnthropic]:
    """The official client, unchanged: its key travels as x-api-key."""
    async with anthropic.AsyncAnthropic(base_url=stack.rest, api_key=API_KEY, max_retries=0) as client:
        yield client


@pytest.mark.parametrize("model", MODELS)
async def test_a_message_is_answered_and_costs_what_the_provider_counts(
    stack: Stack, provider: Simulator, claude: anthropic.AsyncAnthropic, model: str
) -> None:
    async with counted_alike(stack, provider, model):
        answer = await claude.messages.create(
            model=model,
            max_tokens=50,
            system="You are brief.",
            messages=QUESTION,
            extra_body={"temperature": 0.5},
        )

    assert ("message", "assistant", model) == (answer.type, answer.role, answer.model)
    assert "end_turn" == answer.stop_reason
    (block,) = answer.content
    assert block.type == "text"
    assert block.text.startswith("Echo What is the weather")
    assert (answer.usage.input_tokens, answer.usage.output_tokens) > (0, 0)
    assert answer.model_extra is not None
    assert answer.model_extra["lumni"]["deployment"].startswith(f"{model}@")


@pytest.mark.parametrize("model", MODELS)
async def test_a_streamed_message_has_anthropics_events_in_their_order(
    stack: Stack, provider: Simulator, claude: anthropic.AsyncAnthropic, model: str
) -> None:
    kinds = []
    async with (
        counted_alike(stack, provider, model) as bill,
        claude.messages.stream(model=model, max_tokens=5, messages=QUESTION) as stream,
    ):
        async for event in stream:
            kinds.append(event.type)  # noqa: PERF401
        final = await stream.get_final_message()

    raw = [kind for kind in kinds if kind not in ("text", "ping")]
    assert raw == [
        "message_start",
        "content_block_start",
        *["content_block_delta"] * 5,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert "max_tokens" == final.stop_reason
    assert (bill.prompt_tokens, 5) == (final.usage.input_tokens, final.usage.output_tokens)
    assert 1 == bill.requests


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", MODELS)
async def test_tools_are_called_in_parallel_and_their_results_go_back(
    stack: Stack, provider: Simulator, claude: anthropic.AsyncAnthropic, model: str, *, stream: bool
) -> None:
    async def ask(messages: Any) -> anthropic.types.Message:
        about: Any = {"model": model, "max_tokens": 200, "tools": [WEATHER, TIME], "messages": messages}
        if not stream:
            whole: anthropic.types.Message = await claude.messages.create(**about)
            return whole
        async with claude.messages.stream(**about) as events:
            return await events.get_final_message()

    async with counted_alike(stack, provider, model) as bill:
        called = await ask(QUESTION)
        uses = [block for block in called.content if block.type == "tool_use"]
        results: Any = [
            {
                "type": "tool_result",
                "tool_use_id": use.id,
                "content": [{"type": "text", "text": "18 degrees"}],
            }
            for use in uses
        ]
        turns = [
            *QUESTION,
            {"role": "assistant", "content": [block.to_dict() for block in called.content]},
            {"role": "user", "content": results},
        ]
        answered = await ask(turns)

    assert "tool_use" == called.stop_reason
    assert [("get_weather", {"city": "text"}), ("get_time", {"city": "text"})] == [
        (use.name, use.input) for use in uses
    ]
    assert 2 == len({use.id for use in uses})
    assert ("end_turn", 2) == (answered.stop_reason, bill.requests)


async def test_what_anthropic_knows_reaches_anthropic_as_it_came(
    provider: Simulator, claude: anthropic.AsyncAnthropic
) -> None:
    mark: Any = {"type": "ephemeral"}
    answer = await claude.messages.create(
        model="native",
        max_tokens=2000,
        system=[{"type": "text", "text": "You are brief.", "cache_control": mark}],
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "See canary-cache", "cache_control": mark},
                    {
                        "type": "image",
                        "source": {
                            "type": "base64",
                            "media_type": "image/png",
                            "data": PIXEL.partition(",")[2],
                        },
                    },
                ],
            },
            REMINDER,
        ],
        thinking={"type": "enabled", "budget_tokens": 1024},
        extra_body={"top_k": 5, "context_management": CLEARING},
        metadata={"user_id": "u1"},
    )
    sent = next(
        one for one in reversed(await provider.requests()) if "canary-cache" in json.dumps(one["body"])
    )

    assert ["thinking", "text"] == [block.type for block in answer.content]
    assert "/v1/messages" == sent["path"]
    body = sent["body"]
    assert (mark, mark) == (
        body["system"][0]["cache_control"],
        body["messages"][0]["content"][0]["cache_control"],
    )
    assert (1024, 5, {"user_id": "u1"}, CLEARING) == (
        body["thinking"]["budget_tokens"],
        body["top_k"],
        body["metadata"],
        body["context_management"],
    )
    # Without them Anthropic knows neither the field nor the role.
    assert (
        "context-management-2025-06-27,mid-conversation-system-2026-04-07"
        == sent["headers"]["anthropic-beta"]
    )


async def test_a_picture_and_a_schema_reach_a_model_that_only_chats(
    provider: Simulator, claude: anthropic.AsyncAnthropic
) -> None:
    picture: Any = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
    answer = await claude.messages.create(
        model="large",
        max_tokens=50,
        messages=[{"role": "user", "content": [picture, {"type": "text", "text": "canary-picture"}]}],
        output_config={
            "format": {
                "type": "json_schema",
                "schema": {"type": "object", "properties": {"answer": {"type": "string"}}},
            }
        },
    )
    sent = next(
        one for one in reversed(await provider.requests()) if "canary-picture" in json.dumps(one["body"])
    )

    (block,) = answer.content
    assert block.type == "text"
    assert {"answer": "text"} == json.loads(block.text)
    assert "/v1/chat/completions" == sent["path"]
    part, _ = sent["body"]["messages"][0]["content"]
    assert {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}} == part


async def test_tokens_are_counted_without_a_call(
    provider: Simulator, claude: anthropic.AsyncAnthropic
) -> None:
    before = (await provider.counts())["requests"]
    counted = await claude.messages.count_tokens(model="native", messages=QUESTION, tools=[WEATHER])

    assert counted.input_tokens > 10
    assert before == (await provider.counts())["requests"]


async def test_errors_have_anthropics_form(stack: Stack, claude: anthropic.AsyncAnthropic) -> None:
    with pytest.raises(anthropic.BadRequestError) as wrong:
        await claude.messages.create(model="native", max_tokens=0, messages=QUESTION)
    assert isinstance(wrong.value.body, dict)
    assert ("error", "invalid_request_error", "max_tokens") == (
        wrong.value.body["type"],
        wrong.value.body["error"]["type"],
        wrong.value.body["error"]["param"],
    )
    with pytest.raises(anthropic.NotFoundError):
        await claude.messages.create(model="nothing", max_tokens=5, messages=QUESTION)
    stranger = anthropic.AsyncAnthropic(base_url=stack.rest, api_key="sk-wrong", max_retries=0)
    async with stranger:
        with pytest.raises(anthropic.AuthenticationError) as unknown:
            await stranger.messages.create(model="native", max_tokens=5, messages=QUESTION)
    assert isinstance(unknown.value.body, dict)
    assert "authentication_error" == unknown.value.body["error"]["type"]


async def test_a_stream_that_is_cut_ends_with_anthropics_error_event(http: httpx.AsyncClient) -> None:
    body = {"model": "cuts", "max_tokens": 50, "messages": QUESTION, "stream": True}
    text = (await http.post("/v1/messages", json=body)).text
    *_, last = [event for event in text.split("\n\n") if event]
    name, data = last.split("\n")

    assert "event: error" == name
    assert "error" == json.loads(data.removeprefix("data: "))["type"]
    assert "message_stop" not in text


async def test_a_bearer_key_is_as_good(http: httpx.AsyncClient) -> None:
    answer = await http.post(
        "/v1/messages?beta=true",
        json={"model": "native", "max_tokens": 5, "messages": QUESTION},
        headers={"anthropic-version": "2023-06-01"},
    )

    assert 200 == answer.status_code


async def test_a_failing_model_falls_back(claude: anthropic.AsyncAnthropic) -> None:
    answer = await claude.messages.create(model="breaks", max_tokens=5, messages=QUESTION)

    assert "small" == answer.model
    assert answer.model_extra is not None
    assert ["failed", "succeeded"] == [one["outcome"] for one in answer.model_extra["lumni"]["attempts"]]


async def test_auto_chooses_for_a_message_as_for_a_chat(claude: anthropic.AsyncAnthropic) -> None:
    answer = await claude.messages.create(model="auto", max_tokens=5, messages=QUESTION)

    assert answer.model in ("small", "large")
    assert answer.model_extra is not None
    assert answer.model_extra["lumni"]["classification"]["category"]
