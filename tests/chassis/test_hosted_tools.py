"""What would spend or keep something at a provider is refused by name, however it is spelled; all else passes."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis import hosted_tools
from services.chassis.errors import Invalid
from services.chassis.hosted_tools import Allowed
from services.chassis.operations import Operation
from tests.attacks.hosted_tools import BODIES, FUNCTION


@pytest.mark.parametrize(("field", "body"), BODIES, ids=lambda value: str(value)[:60])
def test_a_field_that_spends_or_keeps_is_refused_by_name(field: str, body: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as caught:
        hosted_tools.check(body, turns="messages")

    assert field == caught.value.param
    assert caught.value.message.startswith(field)


@pytest.mark.parametrize(
    "body",
    [
        {"tools": [FUNCTION], "tool_choice": "auto"},
        {"tools": [{**FUNCTION, "cache_control": {"type": "ephemeral"}}]},
        {"tools": [{"type": "custom", "custom": {"name": "shell"}}]},
        {"tools": [{"name": "look", "description": "Look.", "input_schema": {"type": "object"}}]},
        {"tools": [{"type": "function", "name": "look", "parameters": {}, "strict": True}]},
        {"tools": [{"type": "function", "function": {"name": "web_search"}}]},
        {"tools": None, "functions": None},
        {"tools": []},
        {"functions": [{"name": "look", "parameters": {"properties": {"store": {}}}}]},
        # What says no, or says nothing, asks for nothing.
        {"store": False, "background": False, "web_search_options": None, "vector_store_ids": []},
        {"previous_response_id": None, "container": None, "mcp_servers": [], "enable_search": False},
        # A caller's own words may be anything.
        {"metadata": {"store": "yes", "container": "c1", "file_id": "f"}},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"store": {}}}}},
        {"messages": [{"role": "user", "content": "store the web_search container"}]},
        {
            "messages": [
                {
                    "role": "assistant",
                    "content": [{"type": "tool_use", "id": "1", "name": "f", "input": {"file_id": "mine"}}],
                }
            ]
        },
        {"extra_body": {"min_p": 0.1}, "min_p": 0.1, "surprise": {"store": True}},
        {"messages": "no list", "input": 7, "extra_body": []},
        # What only shortens a prompt.
        {"context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}},
        {"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}},
    ],
    ids=lambda body: str(body)[:60],
)
def test_everything_else_passes(body: dict[str, Any]) -> None:
    hosted_tools.check(body, turns="messages")


@pytest.mark.parametrize(
    ("turns", "body", "field"),
    [
        ("input", {"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0].type"),
        (
            "input",
            {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "file-1"}]}]},
            "input[0].content[0].file_id",
        ),
        (
            "messages",
            {"messages": [{"content": [{"type": "document", "source": {"type": "file", "file_id": "f"}}]}]},
            "messages[0].content[0].source.file_id",
        ),
        (
            "messages",
            {
                "messages": [
                    {
                        "content": [
                            {
                                "type": "tool_result",
                                "content": [{"type": "image", "source": {"file_id": "f"}}],
                            }
                        ]
                    }
                ]
            },
            "messages[0].content[0].content[0].source.file_id",
        ),
        ("input", {"prompt": {"id": "pmpt_1"}}, "prompt"),
    ],
)
def test_what_the_provider_keeps_is_found_in_other_formats(
    turns: str, body: dict[str, Any], field: str
) -> None:
    with pytest.raises(Invalid) as caught:
        hosted_tools.check(body, turns=turns)

    assert field == caught.value.param


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"tools": {}}, "tools"),
        ({"functions": "f"}, "functions"),
        ({"tools": [7]}, "tools[0]"),
        ({"tools": [{}]}, "tools[0]"),
        ({f"x{number}": 0 for number in range(hosted_tools.MAX_FIELDS + 1)}, None),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_cannot_be_read_is_refused(body: dict[str, Any], field: str | None) -> None:
    with pytest.raises(Invalid) as caught:
        hosted_tools.check(body)

    assert field == caught.value.param


NAMES = st.sampled_from(
    """
    tools functions messages content type function name image_url file source audio id input extra_body store prompt
    file_id googleSearch
    """.split()
)
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.sampled_from(["function", "file", "x", ""]))
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_no_body_is_too_strange_to_be_judged(body: dict[str, Any]) -> None:
    with suppress(Invalid):
        hosted_tools.check(body, turns="messages")


@pytest.mark.parametrize(
    "body",
    [
        {"tools": [FUNCTION] * 200_000},
        {"functions": [{"name": "f"}] * 200_000},
        {"messages": [{"role": "user"}] * 200_000},
        {"messages": [{"content": [{}] * 200_000}]},
        {"messages": [{"content": [{"type": "tool_result", "content": [{}] * 200_000}]}]},
        {"messages": [{"content": [{"content": [{}] * 1000}] * 1000}]},
    ],
    ids=["tools", "functions", "messages", "parts", "parts of a part", "parts of parts"],
)
def test_more_than_any_provider_takes_is_refused_before_it_is_looked_through(body: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match="expected at most"):
        hosted_tools.check(body, turns="messages")


def test_a_nest_of_any_depth_is_looked_through() -> None:
    body: dict[str, Any] = {"store": True}
    for _ in range(1000):
        body = {"extra_body": body}

    with pytest.raises(Invalid, match="refused"):
        hosted_tools.check(body)


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        (Operation.AUDIO_SPEECH, {"speed": 1.5}),
        (Operation.IMAGE_GENERATION, {"background": "transparent"}),
    ],
)
def test_a_word_passes_where_it_means_something_else(operation: Operation, body: dict[str, Any]) -> None:
    hosted_tools.check(body, operation=operation)

    for other in set(Operation) - {operation}:
        with pytest.raises(Invalid, match="refused"):
            hosted_tools.check(body, operation=other)
    with pytest.raises(Invalid, match="refused"):
        hosted_tools.check({"extra_body": body}, operation=operation)


SEARCH = {"type": hosted_tools.SEARCH_TYPE, "name": "web_search", "max_uses": 3}


def test_a_search_passes_as_often_as_the_plan_allows() -> None:
    body = {"tools": [FUNCTION, SEARCH], "store": True}
    hosted_tools.check(body, allowed=Allowed(web_search=3, store=True))

    assert 3 == hosted_tools.searches(body)
    assert 0 == hosted_tools.searches({"tools": [FUNCTION]}) == hosted_tools.searches({})


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"tools": [SEARCH | {"max_uses": 4}]}, "tools[0].max_uses"),
        ({"tools": [SEARCH | {"max_uses": True}]}, "tools[0].max_uses"),
        ({"tools": [SEARCH | {"max_uses": "3"}]}, "tools[0].max_uses"),
        ({"tools": [{"type": hosted_tools.SEARCH_TYPE, "name": "web_search"}]}, "tools[0].max_uses"),
        ({"tools": [SEARCH | {"encrypted_index": 1}]}, "tools[0].encrypted_index"),
        ({"tools": [SEARCH, SEARCH]}, "tools[1]"),
        ({"Tools": [SEARCH]}, "Tools[0].type"),
        ({"extra_body": {"tools": [SEARCH]}}, "extra_body.tools[0].type"),
        ({"extra_body": {"store": True}}, "extra_body.store"),
        ({"STORE": True}, "STORE"),
        ({"background": True}, "background"),
    ],
)
def test_nothing_else_passes_with_it(body: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as caught:
        hosted_tools.check(body, allowed=Allowed(web_search=3, store=True))

    assert field == caught.value.param


def test_functions_of_a_response_may_be_grouped_in_a_namespace_and_nothing_else() -> None:
    grouped = {"type": "namespace", "name": "crm", "description": "Customers.", "tools": [FUNCTION]}

    hosted_tools.check({"tools": [grouped, FUNCTION]}, turns="input")

    for field, more in (
        ("tools[0].tools[0].type", {"tools": [{"type": "web_search"}]}),
        ("tools[0].tools[0].type", {"tools": [grouped]}),
        ("tools[0].tools", {"tools": None}),
        ("tools[0].server_url", {"server_url": "http://127.0.0.1:9"}),
    ):
        with pytest.raises(Invalid) as caught:
            hosted_tools.check({"tools": [grouped | more]}, turns="input")
        assert field == caught.value.param
