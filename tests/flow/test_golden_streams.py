"""Streams of responses and messages, event by event, as the official SDKs' type definitions have them.

The SDKs themselves read leniently: a missing field is None to them. Here each event has to be whole, under its own name,
and in an order in which a client can follow what begins, grows and ends.
"""

import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import httpx
import openai
import pytest
from anthropic.types import RawMessageStreamEvent
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from tests.flow.stack import API_KEY, Stack

pytestmark = pytest.mark.asyncio(loop_scope="session")
RESPONSE_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
MESSAGE_EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
QUESTION = "What is the weather in Paris?"
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS = ("get_weather", "get_time")
# Who speaks the format, who speaks OpenAI's chat, who speaks Anthropic's messages.
MODELS = ("responder", "large", "native")
RESPONSES: dict[str, dict[str, Any]] = {
    "text": {},
    "cut": {"max_output_tokens": 5},
    "calls": {
        "tools": [
            {"type": "function", "name": name, "parameters": PARAMETERS, "strict": True} for name in TOOLS
        ]
    },
    "schema": {
        "text": {"format": {"type": "json_schema", "name": "answer", "schema": PARAMETERS, "strict": True}}
    },
}
MESSAGES: dict[str, dict[str, Any]] = {
    "text": {},
    "cut": {"max_tokens": 5},
    "calls": {"tools": [{"name": name, "input_schema": PARAMETERS} for name in TOOLS]},
    "schema": {"output_config": {"format": {"type": "json_schema", "schema": PARAMETERS}}},
}
# How each kind of part of a response ends: what its deltas are called, and where the whole stands.
GROWS = {
    "response.output_text.delta": ("response.output_text.done", "text"),
    "response.function_call_arguments.delta": ("response.function_call_arguments.done", "arguments"),
}


async def events(http: httpx.AsyncClient, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    """The data of a stream's events, each of which is named as its data says."""
    async with http.stream("POST", path, json={**body, "stream": True}) as answer:
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"].startswith("text/event-stream")
        text = (await answer.aread()).decode()
    found = []
    for block in text.removesuffix("\n\n").split("\n\n"):
        lines = [line for line in block.split("\n") if not line.startswith(":")]
        if not lines:
            continue
        name, data = lines
        found.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    return found


@pytest.fixture
async def claude(stack: Stack) -> AsyncIterator[anthropic.AsyncAnthropic]:
    """Anthropic's client, unchanged."""
    async with anthropic.AsyncAnthropic(base_url=stack.rest, api_key=API_KEY, max_retries=0) as one:
        yield one


@pytest.mark.parametrize("shape", RESPONSES)
@pytest.mark.parametrize("model", MODELS)
async def test_a_streamed_response_is_the_specifications_event_by_event(
    http: httpx.AsyncClient, client: openai.AsyncOpenAI, model: str, shape: str
) -> None:
    body = {"model": model, "input": QUESTION, "store": False, **RESPONSES[shape]}
    found = await events(http, "/v1/responses", body)
    for event in found:
        RESPONSE_EVENT.validate_python(event)

    assert list(range(len(found))) == [event["sequence_number"] for event in found]
    assert ["response.created", "response.in_progress"] == [event["type"] for event in found[:2]]
    response = found[-1]["response"]
    assert found[-1]["type"] == f"response.{response['status']}"
    assert ("incomplete" if shape == "cut" else "completed") == response["status"]
    assert response["output"] == finished_items(found[2:-1])
    assert (2 if shape == "calls" else 1) == len(response["output"])
    if shape == "cut":
        return
    # The SDK's own reader, which only reads what is complete, makes the same of it.
    async with client.responses.stream(**body) as stream:
        final = await stream.get_final_response()
    assert [item["type"] for item in response["output"]] == [item.type for item in final.output]
    assert text_of(response["output"]) == final.output_text


def finished_items(between: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The items that begin, grow and end between a response's beginning and end, one after the other."""
    items: list[dict[str, Any]] = []
    begun: dict[str, Any] | None = None
    part_is_open, pieces, kind = False, "", ""
    for event in between:
        match event["type"]:
            case "response.output_item.added":
                assert begun is None
                begun = event["item"]
                assert (len(items), "in_progress") == (event["output_index"], begun["status"])
            case "response.content_part.added":
                assert not part_is_open
                part_is_open = True
            case grows if grows in GROWS:
                kind, pieces = grows, pieces + event["delta"]
            case done if kind and done == GROWS[kind][0]:
                assert pieces == event[GROWS[kind][1]]
                kind = pieces = ""
            case "response.content_part.done":
                assert part_is_open
                part_is_open = False
            case "response.output_item.done":
                assert begun is not None
                assert (begun["id"], begun["type"]) == (event["item"]["id"], event["item"]["type"])
                assert not part_is_open
                assert not pieces
                items.append(event["item"])
                begun = None
            case other:
                raise AssertionError(f"{other} is out of place")
        if begun is not None and "item_id" in event:
            assert (begun["id"], len(items)) == (event["item_id"], event["output_index"])
    assert begun is None
    return items


def text_of(output: list[dict[str, Any]]) -> str:
    return "".join(part["text"] for item in output for part in item.get("content", ()))


@pytest.mark.parametrize("shape", MESSAGES)
@pytest.mark.parametrize("model", MODELS)
async def test_a_streamed_message_is_the_specifications_event_by_event(
    http: httpx.AsyncClient, claude: anthropic.AsyncAnthropic, model: str, shape: str
) -> None:
    body = {
        "model": model,
        "max_tokens": 50,
        "messages": [{"role": "user", "content": QUESTION}],
        **MESSAGES[shape],
    }
    found = [event for event in await events(http, "/v1/messages", body) if event["type"] != "ping"]
    for event in found:
        MESSAGE_EVENT.validate_python(event)

    assert "message_start" == found[0]["type"]
    assert ["message_delta", "message_stop"] == [event["type"] for event in found[-2:]]
    blocks = finished_blocks(found[1:-2])
    reason = {"cut": "max_tokens", "calls": "tool_use"}.get(shape, "end_turn")
    assert reason == found[-2]["delta"]["stop_reason"]
    # The SDK's own reader of streams makes the same of it.
    async with claude.messages.stream(**body) as stream:
        final = await stream.get_final_message()
    assert reason == final.stop_reason
    assert [kind for kind, _ in blocks] == [block.type for block in final.content]
    for (kind, said), block in zip(blocks, final.content, strict=True):
        if kind == "tool_use":
            assert block.type == "tool_use"
            assert json.loads(said) == block.input
        else:
            assert block.type == "text"
            assert said == block.text
    assert found[-2]["usage"]["output_tokens"] == final.usage.output_tokens > 0


def finished_blocks(between: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """The kind and the text, or the arguments, of the blocks that begin, grow and end one after the other."""
    blocks: list[tuple[str, str]] = []
    kind, pieces = "", ""
    deltas = {"text": ("text_delta", "text"), "tool_use": ("input_json_delta", "partial_json")}
    for event in between:
        assert len(blocks) == event["index"]
        match event["type"]:
            case "content_block_start":
                assert not kind
                kind, pieces = event["content_block"]["type"], ""
            case "content_block_delta":
                name, field = deltas[kind]
                assert name == event["delta"]["type"]
                pieces += event["delta"][field]
            case "content_block_stop":
                assert kind
                blocks.append((kind, pieces))
                kind = ""
            case other:
                raise AssertionError(f"{other} is out of place")
    assert not kind
    return blocks
