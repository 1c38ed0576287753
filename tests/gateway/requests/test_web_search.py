"""A request for searches of the web, in one form and with a bound."""

from typing import Any

import orjson
import pytest

from services.chassis.errors import Invalid
from services.chassis.hosted_tools import SEARCH_TYPE, Allowed
from services.gateway.requests import chat_request
from services.gateway.requests.model_request import ModelRequest

TOOL = {"type": SEARCH_TYPE, "name": "web_search"}
FUNCTION = {"type": "function", "function": {"name": "look"}}
FIVE = Allowed(web_search=5)


def parsed(allowed: Allowed = FIVE, **fields: Any) -> ModelRequest:
    body = {"messages": [{"role": "user", "content": "hi"}], **fields}
    return chat_request.parse(orjson.dumps(body), allowed=allowed)


@pytest.mark.parametrize(
    ("fields", "tools"),
    [
        ({"tools": [FUNCTION, TOOL]}, [FUNCTION, TOOL | {"max_uses": 5}]),
        ({"tools": [TOOL | {"max_uses": 2}]}, [TOOL | {"max_uses": 2}]),
        ({"web_search_options": {}}, [TOOL | {"max_uses": 5}]),
        ({"web_search_options": {"search_context_size": "low"}}, [TOOL | {"max_uses": 1}]),
        ({"web_search_options": {"search_context_size": "high"}}, [TOOL | {"max_uses": 5}]),
        (
            {
                "tools": [FUNCTION],
                "web_search_options": {
                    "user_location": {"type": "approximate", "approximate": {"country": "FR"}}
                },
            },
            [FUNCTION, TOOL | {"max_uses": 5, "user_location": {"type": "approximate", "country": "FR"}}],
        ),
    ],
)
def test_what_names_no_bound_gets_that_of_the_plan(
    fields: dict[str, Any], tools: list[dict[str, Any]]
) -> None:
    chat = parsed(**fields)

    assert tools == chat.body["tools"]
    assert "web_search_options" not in chat.body
    assert tools[-1]["max_uses"] == chat.searches


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"web_search_options": {}, "tools": [TOOL]}, "tools[1]"),
        ({"web_search_options": []}, "web_search_options"),
        ({"web_search_options": {"search_context_size": ["low"]}}, "web_search_options.search_context_size"),
        ({"web_search_options": {"user_location": "Paris"}}, "web_search_options.user_location"),
        ({"tools": [TOOL | {"max_uses": 6}]}, "tools[0].max_uses"),
        ({"webSearchOptions": {}}, "webSearchOptions"),
    ],
)
def test_what_cannot_be_bounded_is_refused_by_its_field(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as caught:
        parsed(**fields)

    assert field == caught.value.param


@pytest.mark.parametrize("fields", [{"tools": [TOOL]}, {"web_search_options": {}}])
def test_a_plan_that_allows_no_searches_refuses_them(fields: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match="refused"):
        parsed(Allowed(store=True), **fields)


def test_a_request_without_searches_has_none() -> None:
    assert 0 == parsed(tools=[FUNCTION]).searches
