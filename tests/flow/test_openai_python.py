"""OpenAI's Python SDK by its own resource methods and with its own defaults, as the Node one is tried in tests/clients."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletionChunk
from pydantic import BaseModel

from tests.flow.stack import API_KEY, Stack
from tests.simulator import Simulator

pytestmark = pytest.mark.asyncio(loop_scope="session")
# Who speaks OpenAI's chat, and who speaks Anthropic's messages.
MODELS = ("large", "native")
QUESTION: Any = [{"role": "user", "content": "What is the weather in Paris?"}]
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS: Any = [
    {"type": "function", "function": {"name": name, "parameters": PARAMETERS, "strict": True}}
    for name in ("get_weather", "get_time")
]
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
# How often the client asks again after a failure; two requests show it as well as three, and sooner.
RETRIES = 1


class Weather(BaseModel):
    """A structured answer."""

    city: str
    degrees: int


@pytest.fixture
async def asked() -> list[str]:
    """The paths that the client has asked for."""
    return []


@pytest.fixture
async def retrying(stack: Stack, asked: list[str]) -> AsyncIterator[openai.AsyncOpenAI]:
    """The client as it is, which asks again where that may help; it is told to come soon, and waits no longer."""

    async def note(request: httpx.Request) -> None:
        asked.append(request.url.path)

    async def hurry(response: httpx.Response) -> None:
        response.headers["retry-after-ms"] = "1"

    async with (
        httpx.AsyncClient(event_hooks={"request": [note], "response": [hurry]}, trust_env=False) as http,
        openai.AsyncOpenAI(
            base_url=f"{stack.rest}/v1", api_key=API_KEY, max_retries=RETRIES, http_client=http
        ) as client,
    ):
        yield client


@pytest.mark.parametrize("model", MODELS)
async def test_tools_are_called_in_parallel_and_their_results_go_back(
    client: openai.AsyncOpenAI, model: str
) -> None:
    called = await client.chat.completions.create(model=model, messages=QUESTION, tools=TOOLS)
    message = called.choices[0].message
    calls = message.tool_calls or []
    results = [{"role": "tool", "tool_call_id": call.id, "content": "21 degrees"} for call in calls]
    turns: Any = [*QUESTION, message.model_dump(exclude_none=True), *results]
    answered = await client.chat.completions.create(model=model, messages=turns, tools=TOOLS)
    # The SDK's own reader takes calls one after the other; the simulator's, as some servers', take turns.
    async with client.chat.completions.stream(model=model, messages=QUESTION, tools=TOOLS[:1]) as stream:
        streamed = (await stream.get_final_completion()).choices[0].message.tool_calls or []

    assert ("tool_calls", ["get_weather", "get_time"]) == (
        called.choices[0].finish_reason,
        [call.function.name for call in calls if call.type == "function"],
    )
    assert ("stop", True) == (answered.choices[0].finish_reason, bool(answered.choices[0].message.content))
    assert ['{"city":"text"}'] == [call.function.arguments.replace(" ", "") for call in streamed]


@pytest.mark.parametrize("model", MODELS)
async def test_a_schema_and_a_picture_are_understood(
    client: openai.AsyncOpenAI, provider: Simulator, model: str
) -> None:
    parsed = await client.chat.completions.parse(model=model, messages=QUESTION, response_format=Weather)
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
    ]
    seen = await client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": parts}],  # type: ignore[misc, list-item]
    )
    [sent] = await provider.requests(1)

    assert Weather(city="text", degrees=1) == parsed.choices[0].message.parsed
    assert seen.choices[0].message.content
    assert PIXEL in str(sent["body"])


async def test_errors_come_in_the_sdks_classes(client: openai.AsyncOpenAI) -> None:
    chat = client.chat.completions
    stranger = client.with_options(api_key="sk-wrong").chat.completions

    with pytest.raises(openai.AuthenticationError):
        await stranger.create(model="large", messages=QUESTION)
    with pytest.raises(openai.NotFoundError):
        await chat.create(model="nothing", messages=QUESTION)
    with pytest.raises(openai.BadRequestError) as wrong:
        await chat.create(model="large", messages=QUESTION, temperature=9)
    assert "temperature" == wrong.value.param


async def test_what_fails_is_asked_again_and_what_is_wrong_is_not(
    retrying: openai.AsyncOpenAI, asked: list[str]
) -> None:
    chat = retrying.chat.completions

    with pytest.raises(openai.InternalServerError):
        await chat.create(model="keyless", messages=QUESTION)
    assert 1 + RETRIES == len(asked)
    with pytest.raises(openai.BadRequestError):
        await chat.create(model="large", messages=QUESTION, temperature=9)
    assert 2 + RETRIES == len(asked)


async def test_a_caller_may_give_up(client: openai.AsyncOpenAI) -> None:
    chat = client.chat.completions

    with pytest.raises(openai.APITimeoutError):
        await client.with_options(timeout=0.5).chat.completions.create(model="hangs", messages=QUESTION)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await chat.create(model="hangs", messages=QUESTION)
    stream = await chat.create(model="large", messages=QUESTION, stream=True)
    async for _ in stream:
        break
    await stream.close()


async def data(http: httpx.AsyncClient, path: str, body: dict[str, Any]) -> list[str]:
    """The data of a stream's events, which have no names and end with the mark that OpenAI documents."""
    async with http.stream("POST", path, json={**body, "stream": True}) as answer:
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"].startswith("text/event-stream")
        text = (await answer.aread()).decode()
    assert text.endswith("\n\n")
    events = [event for event in text[:-2].split("\n\n") if not event.startswith(":")]
    assert all(event.startswith("data: ") and "\n" not in event for event in events)
    *found, end = [event.removeprefix("data: ") for event in events]
    assert "[DONE]" == end
    return found


@pytest.mark.parametrize("tools", [[], TOOLS], ids=["text", "calls"])
@pytest.mark.parametrize("model", MODELS)
async def test_a_streamed_chat_is_the_specifications_chunk_by_chunk(
    http: httpx.AsyncClient, model: str, tools: Any
) -> None:
    body: dict[str, Any] = {"model": model, "messages": QUESTION, "stream_options": {"include_usage": True}}
    if tools:
        body["tools"] = tools
    *chunks, last = [
        ChatCompletionChunk.model_validate_json(one, strict=True)
        for one in await data(http, "/v1/chat/completions", body)
    ]
    deltas = [chunk.choices[0].delta for chunk in chunks]
    called = [call for delta in deltas for call in delta.tool_calls or []]

    # One answer by one model, which begins with its role and ends with one finish and what was spent.
    assert 1 == len({(chunk.id, chunk.created, chunk.model) for chunk in [*chunks, last]})
    assert "assistant" == deltas[0].role
    assert [None] * (len(chunks) - 1) == [chunk.choices[0].finish_reason for chunk in chunks[:-1]]
    assert ("tool_calls" if tools else "stop") == chunks[-1].choices[0].finish_reason
    assert ([None] * len(chunks), []) == ([chunk.usage for chunk in chunks], last.choices)
    assert last.usage is not None
    assert 0 < last.usage.completion_tokens == last.usage.total_tokens - last.usage.prompt_tokens
    assert bool(tools) != any(delta.content for delta in deltas)
    # A call begins with its id and its name, and only grows from there.
    for index in range(len(tools)):
        first, *more = [call for call in called if call.index == index]
        assert first.id
        assert first.function is not None
        assert tools[index]["function"]["name"] == first.function.name
        assert all(not call.id for call in more)


@pytest.mark.parametrize("model", ["legacy", *MODELS])
async def test_a_streamed_completion_is_the_specifications_chunk_by_chunk(
    http: httpx.AsyncClient, model: str
) -> None:
    body = {"model": model, "prompt": "The capital of France", "stream_options": {"include_usage": True}}
    # The SDK's type knows no chunk without a finish, and OpenAI sends none with one but the last.
    *chunks, last = [json.loads(one) for one in await data(http, "/v1/completions", body)]
    choices = [chunk["choices"] for chunk in chunks]

    heads = {(chunk["id"], chunk["created"], chunk["model"], chunk["object"]) for chunk in [*chunks, last]}
    assert [(model, "text_completion")] == [head[2:] for head in heads]
    assert all(1 == len(each) and each[0].keys() >= {"index", "text", "logprobs"} for each in choices)
    assert [None] * (len(chunks) - 1) == [choice["finish_reason"] for [choice] in choices[:-1]]
    assert choices[-1][0]["finish_reason"] in ("stop", "length")
    assert "".join(choice["text"] for [choice] in choices).startswith("Echo")
    assert ([None] * len(chunks), []) == ([chunk["usage"] for chunk in chunks], last["choices"])
    assert 0 < last["usage"]["completion_tokens"]
