"""Anthropic's and Gemini's formats, as plain HTTP shows them."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest

from tests.simulator import Simulator

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
CLAUDE: dict[str, Any] = {
    "model": "claude",
    "max_tokens": 100,
    "system": "Be kind.",
    "messages": [{"role": "user", "content": [{"type": "text", "text": "Say this"}]}],
}
GEMINI: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "Say this"}]}]}
SAID = "Echo Say this Say this Say this Say this Say this Say this Say this Say"


@pytest.fixture
async def http(simulator: Simulator) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=simulator.url, trust_env=False) as http:
        yield http


async def _post(http: httpx.AsyncClient, path: str, body: dict[str, Any]) -> dict[str, Any]:
    response = await http.post(path, json=body)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


async def _events(http: httpx.AsyncClient, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    async with http.stream("POST", path, json=body) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        return [orjson.loads(line[6:]) async for line in response.aiter_lines() if line.startswith("data: ")]


async def test_a_message_counts_what_was_cached_apart(http: httpx.AsyncClient) -> None:
    message = await _post(http, "/v1/messages", CLAUDE | {"model": "claude-sim-cached-3-write-2"})

    assert message["content"] == [{"type": "text", "text": SAID}]
    assert message["stop_reason"] == "end_turn"
    usage = message["usage"]
    # Two texts of two words, two messages.
    assert (usage["input_tokens"], usage["output_tokens"]) == (4 + 6 - 3 - 2, 16)
    assert (usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]) == (3, 2)


async def test_a_streamed_message_says_the_same_in_blocks(http: httpx.AsyncClient) -> None:
    events = await _events(http, "/v1/messages", CLAUDE | {"model": "claude-sim-think-2", "stream": True})

    kinds = [event["type"] for event in events]
    assert kinds[:3] == ["message_start", "ping", "content_block_start"]
    assert kinds[-2:] == ["message_delta", "message_stop"]
    deltas = [event for event in events if event["type"] == "content_block_delta"]
    assert "".join(e["delta"].get("thinking", "") for e in deltas if e["index"] == 0) == "thought0 thought1"
    assert "".join(e["delta"]["text"] for e in deltas if e["index"] == 1) == SAID
    # The first event knows only a placeholder of the answer's tokens.
    assert events[0]["message"]["usage"]["output_tokens"] == 1
    assert events[-2]["usage"]["output_tokens"] == 18


async def test_a_message_uses_its_tools_once(http: httpx.AsyncClient) -> None:
    tools = [{"name": name, "input_schema": SCHEMA} for name in ("weather", "time")]
    message = await _post(http, "/v1/messages", CLAUDE | {"tools": tools})
    events = await _events(http, "/v1/messages", CLAUDE | {"tools": tools, "stream": True})
    results = [
        {"type": "tool_result", "tool_use_id": use["id"], "content": "sunny"} for use in message["content"]
    ]
    turns = [
        {"role": "assistant", "content": message["content"]},
        {"role": "user", "content": results},
    ]
    after = await _post(
        http, "/v1/messages", CLAUDE | {"tools": tools, "messages": CLAUDE["messages"] + turns}
    )

    assert [(use["name"], use["input"]) for use in message["content"]] == [
        ("weather", {"city": "text"}),
        ("time", {"city": "text"}),
    ]
    assert message["stop_reason"] == "tool_use"
    pieces = [
        e["delta"]["partial_json"] for e in events if e["type"] == "content_block_delta" and e["index"] == 1
    ]
    assert orjson.loads("".join(pieces)) == {"city": "text"}
    assert after["content"][0]["type"] == "text"


async def test_a_stop_sequence_is_named(http: httpx.AsyncClient) -> None:
    message = await _post(http, "/v1/messages", CLAUDE | {"stop_sequences": ["this"]})

    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", "this")
    assert message["content"][0]["text"] == "Echo Say "


async def test_tokens_are_counted_without_an_answer(http: httpx.AsyncClient) -> None:
    asked = {"model": "claude", "messages": CLAUDE["messages"]}

    assert await _post(http, "/v1/messages/count_tokens", asked) == {"input_tokens": 5}


async def test_gemini_counts_thoughts_apart_from_candidates(http: httpx.AsyncClient) -> None:
    asked = GEMINI | {"generationConfig": {"thinkingConfig": {"includeThoughts": True}, "candidateCount": 2}}
    found = await _post(http, "/v1beta/models/gemini:generateContent", asked)

    thought, said = found["candidates"][0]["content"]["parts"]
    assert (thought["thought"], said["text"]) == (True, SAID)
    assert [candidate["finishReason"] for candidate in found["candidates"]] == ["STOP", "STOP"]
    usage = found["usageMetadata"]
    assert (usage["promptTokenCount"], usage["candidatesTokenCount"], usage["thoughtsTokenCount"]) == (
        5,
        32,
        8,
    )
    assert usage["totalTokenCount"] == 45


async def test_gemini_streams_responses_with_the_usage_so_far(http: httpx.AsyncClient) -> None:
    events = await _events(
        http, "/v1beta/models/gemini-sim-reasoning-2:streamGenerateContent?alt=sse", GEMINI
    )

    assert "".join(event["candidates"][0]["content"]["parts"][0]["text"] for event in events) == SAID
    assert [event["usageMetadata"]["candidatesTokenCount"] for event in events] == list(range(1, 17))
    assert [event["candidates"][0].get("finishReason") for event in events] == [None] * 15 + ["STOP"]
    assert events[-1]["usageMetadata"]["thoughtsTokenCount"] == 2


async def test_gemini_understands_snake_case_and_calls_functions(http: httpx.AsyncClient) -> None:
    declared = [
        {"name": "weather", "parameters": {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}}}
    ]
    asked = GEMINI | {"tools": [{"function_declarations": declared}]}
    found = await _post(http, "/v1beta/models/gemini:generateContent", asked)
    capped = await _post(
        http,
        "/v1beta/models/gemini:generateContent",
        GEMINI | {"generation_config": {"max_output_tokens": 2}},
    )

    assert found["candidates"][0]["content"]["parts"] == [
        {"functionCall": {"name": "weather", "args": {"city": "text"}}}
    ]
    assert capped["candidates"][0]["content"]["parts"] == [{"text": "Echo Say"}]
    assert capped["candidates"][0]["finishReason"] == "MAX_TOKENS"


async def test_gemini_embeds_one_and_many(http: httpx.AsyncClient) -> None:
    content = {"content": {"parts": [{"text": "one"}]}}
    one = await _post(http, "/v1beta/models/e:embedContent", content)
    many = await _post(http, "/v1beta/models/e:batchEmbedContents", {"requests": [content, content]})

    assert many["embeddings"] == [one["embedding"]] * 2


async def test_gemini_blocks_a_prompt_with_a_success(http: httpx.AsyncClient) -> None:
    blocked = await _post(http, "/v1beta/models/gemini-sim-policy:generateContent", GEMINI)

    assert blocked["promptFeedback"] == {"blockReason": "SAFETY"}
    assert "candidates" not in blocked
