"""What Anthropic's messages may hold, and how much of it is reserved."""

from typing import Any

import orjson
import pytest
from lumni.chat.v1 import chat_pb2
from lumni.classifier.v1 import classifier_pb2

from services.chassis.errors import Invalid
from services.chassis.hosted_tools import Allowed
from services.gateway.requests import messages_request, prompt_size

HELLO = {"role": "user", "content": "hello"}


def body(content: Any = "hello", **fields: Any) -> bytes:
    messages = [{"role": "user", "content": content}]
    return orjson.dumps({"model": "m", "max_tokens": 9, "messages": messages, **fields})


def source(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "media_type": "image/png", "data": "x" * 1000, **more}


def test_a_decision_reads_what_is_said_and_counts_all() -> None:
    asked = messages_request.parse(
        orjson.dumps(
            {
                "max_tokens": 9,
                "system": [{"type": "text", "text": "Be brief."}],
                "messages": [
                    HELLO,
                    {
                        "role": "assistant",
                        "content": [
                            {"type": "thinking", "thinking": "t" * 500, "signature": "s"},
                            {"type": "tool_use", "id": "u1", "name": "look", "input": {"at": "i" * 300}},
                        ],
                    },
                    {
                        "role": "user",
                        "content": [
                            {
                                "type": "tool_result",
                                "tool_use_id": "u1",
                                "content": [
                                    {"type": "text", "text": "found"},
                                    {"type": "image", "source": source("base64")},
                                ],
                            }
                        ],
                    },
                ],
                "tools": [{"name": "look", "input_schema": {"type": "object"}, "description": "d" * 100}],
            }
        )
    )

    assert ["Be brief.", "hello", "", "found"] == [message.text for message in asked.messages]
    assert [chat_pb2.ROLE_SYSTEM, chat_pb2.ROLE_USER, chat_pb2.ROLE_ASSISTANT, chat_pb2.ROLE_TOOL] == [
        message.role for message in asked.messages
    ]
    assert asked.vision
    assert ["look"] == asked.tools
    assert asked.prompt_tokens > prompt_size.IMAGE_TOKENS + 900
    assert (9, "auto") == (asked.output_tokens, asked.model)


def test_what_a_document_holds_is_in_the_bound() -> None:
    inner = [{"type": "text", "text": "x" * 5000}]
    for given, least in (
        (source("base64"), 500),
        (source("text", data="x" * 5000), 5000),
        (source("content", content=inner), 5000),
    ):
        asked = messages_request.parse(body([{"type": "document", "source": given}]))
        assert asked.prompt_tokens >= least


def test_a_schema_is_asked_for_in_either_field() -> None:
    wanted = {"type": "json_schema", "schema": {"type": "object"}}
    for field in ({"output_format": wanted}, {"output_config": {"format": wanted}}):
        asked = messages_request.parse(body(**field))
        assert classifier_pb2.OUTPUT_FORMAT_JSON_SCHEMA == asked.output_format


@pytest.mark.parametrize(
    ("text", "param"),
    [
        (b'{"max_tokens": 5}', "messages"),
        (body(messages=[]), "messages"),
        (body(messages=["a"]), "messages[0]"),
        (body(messages=[{"role": "tool", "content": "a"}]), "messages[0].role"),
        (body(7), "messages[0].content"),
        (body(["a"]), "messages[0].content[0]"),
        (body([{"type": "container_upload"}]), "messages[0].content[0].type"),
        (body([{"type": "text", "text": 5}]), "messages[0].content[0].text"),
        (body([{"type": "image"}]), "messages[0].content[0].source"),
        (body([{"type": "image", "source": {"type": "base64"}}]), "messages[0].content[0].source.media_type"),
        (
            body([{"type": "document", "source": source("url", url="https://a.example/b.pdf")}]),
            "messages[0].content[0].source.type",
        ),
        (body([{"type": "image", "source": {"type": "file", "file_id": "f"}}]), None),
        (body([{"type": "tool_result"}]), "messages[0].content[0].tool_use_id"),
        (body([{"type": "tool_use", "id": "a"}]), "messages[0].content[0].name"),
        (body(system=5), "system"),
        (body(max_tokens=0), "max_tokens"),
        (body(temperature=1.5), "temperature"),
        (body(top_k=-1), "top_k"),
        (body(thinking="on"), "thinking"),
        (body(stop_sequences="a"), "stop_sequences"),
        (body(stream=1), "stream"),
        (body(tools=[{"type": "web_search_20250305", "name": "web_search"}]), "tools[0].type"),
        (body(tools=[{"name": 5}]), "tools[0].name"),
        (body(tools=[{"name": "a" * 257}]), "tools[0].name"),
        (body(mcp_servers=[{}]), "mcp_servers"),
        (body(container="c"), "container"),
    ],
)
def test_a_mistake_is_named_by_its_field(text: bytes, param: str | None) -> None:
    with pytest.raises(Invalid) as refused:
        messages_request.parse(text)

    assert refused.value.param
    assert param in (None, refused.value.param)


def test_blocks_in_blocks_have_an_end() -> None:
    block: dict[str, Any] = {"type": "text", "text": "deep"}
    for _ in range(messages_request.DEEPEST + 1):
        block = {"type": "document", "source": {"type": "content", "content": [block]}}

    with pytest.raises(Invalid):
        messages_request.parse(body([block]))
    with pytest.raises(Invalid):
        messages_request.parse(body([{"type": "text", "text": "a"}] * (messages_request.MAX_PARTS + 1)))


def test_searches_that_a_plan_allows_are_bounded_and_counted() -> None:
    tools = [{"type": "web_search_20250305", "name": "web_search"}]
    asked = messages_request.parse(body(tools=tools), allowed=Allowed(web_search=5))

    assert (5, ["web_search"]) == (asked.searches, asked.tools)
    assert [{**tools[0], "max_uses": 5}] == asked.body["tools"]
