"""LiteLLM's translation of parameters, kept for the next request with the same ones."""

from typing import Any

import orjson
import pytest

from services.chassis.operations import Operation
from services.executor.engines import direct, translation
from services.executor.engines.base import Call
from services.executor.engines.prepare import Preparer
from tests.executor.fleet import deployment

TOOL = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}},
}


async def translated(provider: str, model: str, **body: Any) -> dict[str, Any]:
    call = Call(
        deployment("http://x", provider, model),
        "sk-x",
        Operation.CHAT,
        {"messages": [{"role": "user", "content": "hi"}], **body},
        stream=False,
        timeout_s=5,
    )
    async with Preparer({}).prepared(call) as prepared:
        upstream = direct.TRANSLATIONS[provider](prepared)
        assert upstream is not None
        return upstream.body


@pytest.mark.parametrize(
    ("provider", "model"),
    [("openai", "gpt-4o"), ("anthropic", "claude-sonnet-4-5"), ("gemini", "gemini-2.5-flash")],
)
async def test_what_is_kept_is_not_what_a_request_may_change(provider: str, model: str) -> None:
    given = {"temperature": 0.25, "max_tokens": 77, "tools": [TOOL], "tool_choice": "auto"}
    first = await translated(provider, model, **given)
    kept = translation._remembered.cache_info()
    for name in list(first):
        first[name] = None

    again = await translated(provider, model, **given)

    assert translation._remembered.cache_info().hits == kept.hits + 1
    assert "0.25" in str(again)
    assert "weather" in str(again)


@pytest.mark.parametrize(
    ("provider", "model"),
    [("openai", "gpt-4o"), ("anthropic", "claude-sonnet-4-5"), ("gemini", "gemini-2.5-flash")],
)
async def test_a_schema_keeps_the_callers_order(provider: str, model: str) -> None:
    # A model that gives its reasons first answers better; it writes in the order of the schema.
    properties = {name: {"type": "string"} for name in ("why", "first", "answer")}
    tool = {
        "type": "function",
        "function": {"name": "say", "parameters": {"type": "object", "properties": properties}},
    }

    sent = orjson.dumps(await translated(provider, model, tools=[tool])).decode()

    assert sent.index('"why"') < sent.index('"first"') < sent.index('"answer"')


async def test_parameters_of_other_values_or_long_ones_are_translated_anew() -> None:
    bodies = [await translated("openai", "gpt-4o", max_tokens=most) for most in (5, 6)]
    assert [body["max_tokens"] for body in bodies] == [5, 6]
    kept = translation._remembered.cache_info()
    long = "x" * translation.LONGEST_REMEMBERED

    assert (await translated("openai", "gpt-4o", stop=long))["stop"] == long
    assert translation._remembered.cache_info() == kept
