"""Anthropic's messages by models that only chat."""

from collections.abc import Mapping
from typing import Any

import pytest

from services.executor.bridges.messages import MessagesBridge
from services.executor.bridges.messages_body import to_chat
from services.executor.engines.outcomes import ErrorClass, Failed
from tests.executor.fleet import deployment

CHATS = deployment("http://127.0.0.1:1", capabilities=frozenset({"reasoning"}))
HELLO = {"role": "user", "content": "hello"}
USAGE = {
    "prompt_tokens": 10,
    "completion_tokens": 4,
    "prompt_tokens_details": {"cached_tokens": 3},
    "completion_tokens_details": {"reasoning_tokens": 2},
}


def chat(**body: Any) -> dict[str, Any]:
    return to_chat({"max_tokens": 9, "messages": [HELLO], **body}, CHATS)


def chunk(finish: str | None = None, usage: Mapping[str, Any] | None = None, **delta: Any) -> dict[str, Any]:
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}] if delta or finish else []
    return {"id": "chatcmpl-1", "model": "m", "choices": choices, "usage": usage}


def call(index: int, arguments: str, ident: str = "", name: str = "") -> dict[str, Any]:
    named = {"id": ident, "type": "function"} if ident else {}
    return {"index": index, **named, "function": {"arguments": arguments, **({"name": name} if name else {})}}


def streamed(*chunks: dict[str, Any], done: bool = True) -> list[dict[str, Any]]:
    bridge = MessagesBridge({"messages": [HELLO]}, CHATS)
    return [*(event for one in chunks for event in bridge.events(one)), *bridge.end(done=done)]


def test_a_conversation_with_tools_becomes_a_chats() -> None:
    made = chat(
        system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        messages=[
            HELLO,
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "s"},
                    {"type": "text", "text": "I look."},
                    {"type": "tool_use", "id": "u1", "name": "look", "input": {"at": "sky"}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "u1", "content": "blue"},
                    {"type": "text", "text": "And?"},
                ],
            },
        ],
        tools=[{"name": "look", "input_schema": {"type": "object"}, "cache_control": {"type": "ephemeral"}}],
        tool_choice={"type": "any", "disable_parallel_tool_use": True},
        stop_sequences=["."],
        metadata={"user_id": "u"},
        thinking={"type": "enabled", "budget_tokens": 5000},
    )

    function = {"name": "look", "arguments": '{"at":"sky"}'}
    assert {
        "messages": [
            {"role": "system", "content": "Be brief."},
            HELLO,
            {
                "role": "assistant",
                "content": "I look.",
                "tool_calls": [{"id": "u1", "type": "function", "function": function}],
            },
            {"role": "tool", "tool_call_id": "u1", "content": "blue"},
            {"role": "user", "content": "And?"},
        ],
        "max_completion_tokens": 9,
        "stop": ["."],
        "tools": [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}],
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "reasoning_effort": "medium",
    } == made


def test_what_the_system_says_between_turns_stays_there() -> None:
    said = {"role": "system", "content": [{"type": "text", "text": "Be brief."}]}

    assert [HELLO, {"role": "system", "content": "Be brief."}] == chat(messages=[HELLO, said])["messages"]


@pytest.mark.parametrize(
    ("given", "chosen"),
    [
        ({"type": "auto"}, "auto"),
        ({"type": "none"}, "none"),
        ({"type": "tool", "name": "look"}, {"type": "function", "function": {"name": "look"}}),
    ],
)
def test_the_choice_of_a_tool_is_the_same(given: Any, chosen: Any) -> None:
    tools = [{"name": "look", "input_schema": {"type": "object"}}]

    assert chosen == chat(tools=tools, tool_choice=given)["tool_choice"]


def test_a_model_that_does_not_reason_is_not_asked_to() -> None:
    plain = deployment("http://127.0.0.1:1")
    body = {"messages": [HELLO], "thinking": {"type": "enabled", "budget_tokens": 5000}}

    assert "reasoning_effort" not in to_chat(body, plain)


def test_marks_for_a_cache_go_where_the_provider_has_one() -> None:
    mark = {"type": "ephemeral"}
    content = [{"type": "text", "text": "long", "cache_control": mark}]
    body = {"messages": [{"role": "user", "content": content}]}

    assert content == to_chat(body, deployment("", "openrouter"))["messages"][0]["content"]


def test_what_a_chat_cannot_take_leaves_the_request_to_another_candidate() -> None:
    with pytest.raises(Failed) as failed:
        chat(messages=[{"role": "user", "content": [{"type": "web_search_tool_result"}]}])

    assert ErrorClass.UNSUPPORTED == failed.value.error


def test_calls_whose_deltas_take_turns_become_blocks_one_after_the_other() -> None:
    events = streamed(
        chunk(role="assistant", reasoning_content="hm"),
        chunk(content="I look."),
        chunk(tool_calls=[call(0, "", "c1", "look")]),
        chunk(tool_calls=[call(1, "", "c2", "hear")]),
        chunk(tool_calls=[call(0, '{"a"')]),
        chunk(tool_calls=[call(1, "{}")]),
        chunk(tool_calls=[call(0, ":1}")]),
        chunk("tool_calls"),
        chunk(usage=USAGE),
    )

    shown = [
        (
            one["type"].removeprefix("content_block_"),
            one.get("index"),
            (one.get("content_block") or one.get("delta") or {}).get("type"),
        )
        for one in events
    ]
    assert shown == [
        ("message_start", None, None),
        ("start", 0, "thinking"),
        ("delta", 0, "thinking_delta"),
        ("stop", 0, None),
        ("start", 1, "text"),
        ("delta", 1, "text_delta"),
        ("stop", 1, None),
        ("start", 2, "tool_use"),
        ("delta", 2, "input_json_delta"),
        ("delta", 2, "input_json_delta"),
        ("stop", 2, None),
        ("start", 3, "tool_use"),
        ("delta", 3, "input_json_delta"),
        ("stop", 3, None),
        ("message_delta", None, None),
        ("message_stop", None, None),
    ]
    assert ({"stop_reason": "tool_use", "stop_sequence": None}, 7, 3, 4, {"thinking_tokens": 2}) == (
        events[-2]["delta"],
        events[-2]["usage"]["input_tokens"],
        events[-2]["usage"]["cache_read_input_tokens"],
        events[-2]["usage"]["output_tokens"],
        events[-2]["usage"]["output_tokens_details"],
    )


def test_a_stream_that_is_cut_has_no_end() -> None:
    kinds = [one["type"] for one in streamed(chunk(content="I"), done=False)]

    assert ["message_start", "content_block_start", "content_block_delta"] == kinds


def test_a_whole_answer_holds_the_same_blocks() -> None:
    answer = MessagesBridge({"messages": [HELLO]}, CHATS).whole(
        {
            "id": "chatcmpl-1",
            "model": "m",
            "choices": [
                {
                    "message": {
                        "content": "I look.",
                        "reasoning_content": "hm",
                        "tool_calls": [
                            {"id": "c1", "function": {"name": "look", "arguments": '{"a":1}'}},
                            {"id": "c2", "function": {"name": "hear", "arguments": '{"b"'}},
                        ],
                    },
                    "finish_reason": "length",
                }
            ],
            "usage": USAGE,
        }
    )

    assert ("msg_1", "max_tokens") == (answer["id"], answer["stop_reason"])
    assert [
        {"type": "thinking", "thinking": "hm", "signature": ""},
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": "c1", "name": "look", "input": {"a": 1}},
        {"type": "tool_use", "id": "c2", "name": "hear", "input": {}},
    ] == answer["content"]


@pytest.mark.parametrize(
    ("finish", "refusal", "reason"),
    [
        ("stop", None, "end_turn"),
        ("content_filter", None, "refusal"),
        ("stop", "I may not.", "refusal"),
    ],
)
def test_a_refusal_is_one(finish: str, refusal: str | None, reason: str) -> None:
    message = {"content": None, "refusal": refusal}
    answer = {"choices": [{"message": message, "finish_reason": finish}]}

    assert reason == MessagesBridge({"messages": [HELLO]}, CHATS).whole(answer)["stop_reason"]
