"""OpenAI's responses by models that only chat."""

from typing import Any

import pytest

from services.chassis.operations import Operation
from services.executor.bridges.calling import speaks
from services.executor.bridges.response_tools import by_chat_name
from services.executor.bridges.responses import ResponsesBridge
from services.executor.bridges.responses_body import to_chat
from services.executor.engines.outcomes import ErrorClass, Failed
from tests.executor.bridges.test_messages import CHATS, USAGE, call, chunk
from tests.executor.fleet import deployment


def streamed(*chunks: dict[str, Any], done: bool = True, **body: Any) -> list[dict[str, Any]]:
    bridge = ResponsesBridge({"input": "hello", **body}, CHATS)
    return [*(event for one in chunks for event in bridge.events(one)), *bridge.end(done=done)]


def test_items_become_the_turns_of_a_chat() -> None:
    made = to_chat(
        {
            "instructions": "Be brief.",
            "input": [
                {"role": "user", "content": [{"type": "input_text", "text": "hello"}]},
                {"type": "reasoning", "id": "rs_1", "summary": []},
                {"role": "assistant", "content": [{"type": "output_text", "text": "I look."}]},
                {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
                {"type": "custom_tool_call", "call_id": "c2", "name": "run", "input": "1+1"},
                {"type": "function_call_output", "call_id": "c1", "output": "blue"},
                {
                    "type": "custom_tool_call_output",
                    "call_id": "c2",
                    "output": [{"type": "input_text", "text": "2"}],
                },
            ],
            "tools": [
                {"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": True},
                {"type": "custom", "name": "run", "description": "Runs."},
            ],
            "tool_choice": {"type": "function", "name": "look"},
            "parallel_tool_calls": False,
            "max_output_tokens": 9,
            "reasoning": {"effort": "xhigh"},
            "text": {"format": {"type": "json_object"}, "verbosity": "low"},
            "metadata": {"a": "b"},
            "store": False,
        },
        CHATS,
    )

    assert [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "hello"},
        {
            "role": "assistant",
            "content": "I look.",
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}},
                {"id": "c2", "type": "function", "function": {"name": "run", "arguments": '{"input":"1+1"}'}},
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "blue"},
        {"role": "tool", "tool_call_id": "c2", "content": "2"},
    ] == made.pop("messages")
    assert ["look", "run"] == [tool["function"]["name"] for tool in made.pop("tools")]
    assert {
        "tool_choice": {"type": "function", "function": {"name": "look"}},
        "parallel_tool_calls": False,
        "max_completion_tokens": 9,
        "reasoning_effort": "xhigh",
        "response_format": {"type": "json_object"},
    } == made


def test_a_choice_among_some_tools_leaves_the_others_out() -> None:
    tools = [{"type": "function", "name": name} for name in ("look", "hear")]
    choice = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "hear"}]}
    made = to_chat({"input": "a", "tools": tools, "tool_choice": choice}, CHATS)

    assert (["hear"], "required") == (
        [tool["function"]["name"] for tool in made["tools"]],
        made["tool_choice"],
    )


@pytest.mark.parametrize(
    "body",
    [{"input": [{"type": "web_search_call"}]}, {"input": "a", "top_logprobs": 2}],
)
def test_what_a_chat_cannot_do_leaves_the_request_to_another_candidate(body: dict[str, Any]) -> None:
    with pytest.raises(Failed) as failed:
        to_chat(body, CHATS)

    assert ErrorClass.UNSUPPORTED == failed.value.error


def test_thoughts_text_and_calls_are_items_one_after_the_other() -> None:
    events = streamed(
        chunk(role="assistant", reasoning_content="hm"),
        chunk(content="I look."),
        chunk(tool_calls=[call(0, "", "c1", "look"), call(1, "{}", "c2", "hear")]),
        chunk(tool_calls=[call(0, "{}")]),
        chunk("tool_calls"),
        chunk(usage=USAGE),
    )

    assert [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "reasoning_text.delta",
        "reasoning_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        *[
            "output_item.added",
            "function_call_arguments.delta",
            "function_call_arguments.done",
            "output_item.done",
        ]
        * 2,
        "completed",
    ] == [event["type"].removeprefix("response.") for event in events]
    assert list(range(len(events))) == [event["sequence_number"] for event in events]
    response = events[-1]["response"]
    assert ["reasoning", "message", "function_call", "function_call"] == [
        item["type"] for item in response["output"]
    ]
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert done == response["output"]
    assert (10, 3, 4) == (
        response["usage"]["input_tokens"],
        response["usage"]["input_tokens_details"]["cached_tokens"],
        response["usage"]["output_tokens"],
    )


def test_a_refusal_is_a_part_of_its_own() -> None:
    events = streamed(chunk(refusal="I may not."), chunk("stop"))

    assert ["response.refusal.delta", "response.refusal.done"] == [
        event["type"] for event in events if ".refusal." in event["type"]
    ]
    assert {"type": "refusal", "refusal": "I may not."} == events[-1]["response"]["output"][0]["content"][0]


def test_a_stream_that_is_cut_has_no_end() -> None:
    events = streamed(chunk(content="I"), done=False)

    assert "response.output_text.delta" == events[-1]["type"]


@pytest.mark.parametrize(
    ("more", "speaks_it"),
    [
        ({"api_base": ""}, True),
        ({}, False),
        ({"endpoints": ("/v1/responses",)}, True),
        ({"api_base": "", "provider": "groq"}, False),
        ({"api_base": "", "api_base_ref": "BASE"}, False),
    ],
)
def test_only_openai_and_who_says_so_is_asked_for_responses(more: dict[str, Any], *, speaks_it: bool) -> None:
    assert speaks_it == speaks(deployment("http://127.0.0.1:1", **more), Operation.RESPONSES)


NAMESPACE = {
    "type": "namespace",
    "name": "crm",
    "description": "Customers.",
    "tools": [
        {"type": "function", "name": "find", "parameters": {"type": "object"}},
        {"type": "custom", "name": "note"},
    ],
}


def test_tools_in_a_namespace_are_called_by_a_chat_that_knows_none() -> None:
    made = to_chat(
        {
            "input": [
                {
                    "type": "function_call",
                    "call_id": "c1",
                    "namespace": "crm",
                    "name": "find",
                    "arguments": "{}",
                },
                {"type": "function_call_output", "call_id": "c1", "output": "Ann"},
            ],
            "tools": [NAMESPACE, {"type": "function", "name": "find"}],
        },
        CHATS,
    )

    assert ["crm__find", "crm__note", "find"] == [tool["function"]["name"] for tool in made["tools"]]
    assert "crm__find" == made["messages"][0]["tool_calls"][0]["function"]["name"]


def test_a_long_name_in_a_namespace_is_one_that_providers_take_and_leads_back() -> None:
    names = [f"{'search_' * 12}{end}" for end in ("one", "two")]
    tools = [
        {
            "type": "namespace",
            "name": "mcp__crm__",
            "tools": [{"type": "function", "name": name} for name in names],
        }
    ]

    called = [tool["function"]["name"] for tool in to_chat({"input": "hi", "tools": tools}, CHATS)["tools"]]

    assert all(len(name) <= 64 for name in called)
    assert names == [by_chat_name({"tools": tools})[name].name for name in called]


def test_the_call_of_a_tool_in_a_namespace_says_which() -> None:
    called = [
        call(0, "{}", "c1", "crm__find"),
        call(1, '{"input":"hi"}', "c2", "crm__note"),
        call(2, "{}", "c3", "find"),
    ]
    events = streamed(
        *(chunk(tool_calls=[one]) for one in called),
        chunk(finish="tool_calls"),
        tools=[NAMESPACE, {"type": "function", "name": "find"}],
    )

    items = events[-1]["response"]["output"]
    assert [
        ("function_call", "crm", "find"),
        ("custom_tool_call", "crm", "note"),
        ("function_call", None, "find"),
    ] == [(item["type"], item.get("namespace"), item["name"]) for item in items]
    done = [event["name"] for event in events if event["type"] == "response.function_call_arguments.done"]
    assert ["find", "find"] == done


@pytest.mark.parametrize(
    ("finish", "status"), [("length", "incomplete"), ("content_filter", "incomplete"), ("stop", "completed")]
)
def test_the_item_that_is_cut_is_incomplete_where_it_ends_and_at_the_end(finish: str, status: str) -> None:
    events = streamed(chunk(reasoning_content="I think."), chunk(content="Once upon"), chunk(finish))

    done = [one["item"]["status"] for one in events if one["type"] == "response.output_item.done"]
    assert ["completed", status] == done
    assert done == [item["status"] for item in events[-1]["response"]["output"]]
    whole = ResponsesBridge({"input": "hello"}, CHATS).whole(
        {
            "choices": [
                {"message": {"reasoning_content": "I think.", "content": "Once"}, "finish_reason": finish}
            ]
        }
    )
    assert done == [item["status"] for item in whole["output"]]


def test_a_call_that_is_cut_is_incomplete() -> None:
    events = streamed(chunk(tool_calls=[call(0, '{"a": ', "c1", "look")]), chunk("length"))

    assert ["incomplete"] == [
        one["item"]["status"] for one in events if one["type"] == "response.output_item.done"
    ]
