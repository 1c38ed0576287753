"""OpenAI's formats, as OpenAI's own client reads them."""

from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

import openai
import orjson
import pytest

from tests.simulator import Simulator

QUESTION: list[Any] = [{"role": "user", "content": "What is the capital of France?"}]
TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 2}},
            },
        },
    }
    for name in ("weather", "time", "map")
]


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{simulator.url}/v1", api_key="none", max_retries=0) as client:
        yield client


async def test_an_answer_and_its_tokens_follow_the_documented_rule(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="gpt", messages=QUESTION)

    assert answer.choices[0].message.content == (
        "Echo What is the capital of France? What is the capital of France? What is the"
    )
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (6 + 3, 16)


async def test_the_same_request_earns_the_same_answer(client: openai.AsyncOpenAI) -> None:
    first, second = [
        await client.chat.completions.create(model="gpt", messages=QUESTION, n=2, logprobs=True) for _ in "12"
    ]

    assert first == second


async def test_a_stream_says_the_same_and_reports_usage_in_an_extra_chunk(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="gpt", messages=QUESTION, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]

    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1])
    assert said == "Echo What is the capital of France? What is the capital of France? What is the"
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert all("usage" in chunk.model_fields_set for chunk in chunks)
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 16


async def test_a_stream_without_include_usage_does_not_mention_usage(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(model="gpt", messages=QUESTION, stream=True)

    assert not [chunk async for chunk in stream if "usage" in chunk.model_fields_set or not chunk.choices]


async def test_a_cap_ends_the_answer_with_length_and_a_stop_sequence_before_it(
    client: openai.AsyncOpenAI,
) -> None:
    capped = await client.chat.completions.create(model="gpt", messages=QUESTION, max_completion_tokens=3)
    stopped = await client.chat.completions.create(model="gpt", messages=QUESTION, stop=["capital"])

    assert (capped.choices[0].message.content, capped.choices[0].finish_reason) == ("Echo What is", "length")
    assert (stopped.choices[0].message.content, stopped.choices[0].finish_reason) == (
        "Echo What is the ",
        "stop",
    )


async def test_tools_are_called_in_parallel_and_once(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="gpt", messages=QUESTION, tools=TOOLS)
    message = answer.choices[0].message
    assert message.tool_calls is not None
    answered = [
        *QUESTION,
        message.model_dump(exclude_none=True),
        *({"role": "tool", "tool_call_id": call.id, "content": "sunny"} for call in message.tool_calls),
    ]
    after = await client.chat.completions.create(model="gpt", messages=answered, tools=TOOLS)

    calls = [call.function for call in message.tool_calls if call.type == "function"]
    assert [call.name for call in calls] == ["weather", "time", "map"]
    assert orjson.loads(calls[0].arguments) == {"city": "text", "days": 2}
    assert answer.choices[0].finish_reason == "tool_calls"
    assert after.choices[0].message.content is not None


async def test_a_choice_of_tools_is_obeyed(client: openai.AsyncOpenAI) -> None:
    forced: Any = {"type": "function", "function": {"name": "time"}}
    asked: dict[str, Any] = {"model": "gpt", "messages": QUESTION, "tools": TOOLS}
    named = await client.chat.completions.create(**asked, tool_choice=forced)
    single = await client.chat.completions.create(**asked, parallel_tool_calls=False)
    none = await client.chat.completions.create(**asked, tool_choice="none")

    assert [call.function.name for call in named.choices[0].message.tool_calls or ()] == ["time"]
    assert [call.function.name for call in single.choices[0].message.tool_calls or ()] == ["weather"]
    assert none.choices[0].message.tool_calls is None


async def test_streamed_calls_of_several_choices_are_interleaved_and_add_up(
    client: openai.AsyncOpenAI,
) -> None:
    asked: dict[str, Any] = {"model": "gpt", "messages": QUESTION, "tools": TOOLS, "n": 2}
    whole = await client.chat.completions.create(**asked)
    order: list[tuple[int, int]] = []
    calls: dict[tuple[int, int], dict[str, str]] = defaultdict(
        lambda: {"id": "", "name": "", "arguments": ""}
    )
    async for chunk in await client.chat.completions.create(**asked, stream=True):
        for choice in chunk.choices:
            for call in choice.delta.tool_calls or ():
                order.append((choice.index, call.index))
                into = calls[order[-1]]
                assert call.function is not None
                into["id"] += call.id or ""
                into["name"] += call.function.name or ""
                into["arguments"] += call.function.arguments or ""

    assert order != sorted(order)
    for choice in whole.choices:
        for index, call in enumerate(choice.message.tool_calls or ()):
            streamed = calls[choice.index, index]
            assert (streamed["name"], streamed["arguments"]) == (call.function.name, call.function.arguments)
    assert len({call["id"] for call in calls.values()}) == 6


async def test_a_schema_gets_its_smallest_instance(client: openai.AsyncOpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {
            "kind": {"enum": ["big", "small"]},
            "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}},
            "open": {"type": ["boolean", "null"]},
            "either": {"anyOf": [{"const": 7}, {"type": "null"}]},
        },
        "$defs": {"tag": {"type": "string"}},
    }
    form: Any = {"type": "json_schema", "json_schema": {"name": "thing", "schema": schema}}
    answer = await client.chat.completions.create(model="gpt", messages=QUESTION, response_format=form)

    assert orjson.loads(answer.choices[0].message.content or "") == {
        "kind": "big",
        "tags": ["text"],
        "open": True,
        "either": 7,
    }


async def test_logprobs_come_with_each_token(client: openai.AsyncOpenAI) -> None:
    asked: dict[str, Any] = {"model": "gpt", "messages": QUESTION, "logprobs": True, "top_logprobs": 2}
    whole = await client.chat.completions.create(**asked)
    streamed = [
        token
        async for chunk in await client.chat.completions.create(**asked, stream=True)
        if chunk.choices[0].logprobs
        for token in chunk.choices[0].logprobs.content or ()
    ]

    assert whole.choices[0].logprobs is not None
    assert whole.choices[0].logprobs.content == streamed
    assert "".join(token.token for token in streamed) == whole.choices[0].message.content
    assert {len(token.top_logprobs) for token in streamed} == {2}


async def test_cached_and_hidden_tokens_lie_within_the_totals_and_within_the_cap(
    client: openai.AsyncOpenAI,
) -> None:
    free = await client.chat.completions.create(
        model="gpt-sim-cached-4-reasoning-5-tokens-6", messages=QUESTION
    )
    capped = await client.chat.completions.create(
        model="gpt-sim-reasoning-5", messages=QUESTION, max_completion_tokens=7
    )

    assert free.usage is not None
    assert free.usage.prompt_tokens_details is not None
    assert free.usage.completion_tokens_details is not None
    assert (free.usage.prompt_tokens, free.usage.prompt_tokens_details.cached_tokens) == (9, 4)
    assert (free.usage.completion_tokens, free.usage.completion_tokens_details.reasoning_tokens) == (11, 5)
    assert capped.usage is not None
    assert capped.usage.completion_tokens == 7


async def test_completions_are_answered_whole_and_streamed(client: openai.AsyncOpenAI) -> None:
    whole = await client.completions.create(model="gpt", prompt="Say this", max_tokens=4)
    stream = await client.completions.create(model="gpt", prompt="Say this", max_tokens=4, stream=True)

    assert whole.choices[0].text == "Echo Say this Say"
    assert "".join([chunk.choices[0].text async for chunk in stream]) == whole.choices[0].text


async def test_embeddings_depend_on_the_text_and_have_length_one(client: openai.AsyncOpenAI) -> None:
    found = await client.embeddings.create(model="e", input=["one two", "three", "one two"], dimensions=8)

    first, other, same = (item.embedding for item in found.data)
    assert first == same != other
    assert len(first) == 8
    assert sum(value * value for value in first) == pytest.approx(1)
    assert found.usage.prompt_tokens == 5


async def test_responses_are_answered_whole_and_as_typed_events(client: openai.AsyncOpenAI) -> None:
    whole = await client.responses.create(model="r", instructions="Be kind.", input="Say this")
    events = [
        event async for event in await client.responses.create(model="r", input="Say this", stream=True)
    ]
    cut = [
        event
        async for event in await client.responses.create(
            model="r", input="x", max_output_tokens=2, stream=True
        )
    ]

    assert whole.output_text.startswith("Echo Say this Say")
    assert whole.usage is not None
    assert (whole.usage.input_tokens, whole.usage.output_tokens) == (2 + 3 + 2 + 3, 16)
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == whole.output_text
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].type == "response.completed"
    assert cut[-1].type == "response.incomplete"


async def test_responses_call_functions(client: openai.AsyncOpenAI) -> None:
    tools: Any = [{"type": "function", **tool["function"], "strict": False} for tool in TOOLS]
    whole = await client.responses.create(model="r", input="Say this", tools=tools)
    stream = await client.responses.create(model="r", input="Say this", tools=tools, stream=True)
    pieces: dict[int, str] = defaultdict(str)
    async for event in stream:
        if event.type == "response.function_call_arguments.delta":
            pieces[event.output_index] += event.delta

    calls = [item for item in whole.output if item.type == "function_call"]
    assert [call.name for call in calls] == ["weather", "time", "map"]
    assert [pieces[index] for index in range(3)] == [call.arguments for call in calls]


async def test_models_are_listed(client: openai.AsyncOpenAI) -> None:
    assert "sim-small" in [model.id async for model in client.models.list()]


async def test_refusals_become_the_clients_own_exceptions(client: openai.AsyncOpenAI) -> None:
    for name, kind, code in (
        ("401", openai.AuthenticationError, "invalid_api_key"),
        ("404", openai.NotFoundError, "model_not_found"),
        ("429", openai.RateLimitError, "rate_limit_exceeded"),
        ("quota", openai.RateLimitError, "insufficient_quota"),
        ("context", openai.BadRequestError, "context_length_exceeded"),
        ("policy", openai.BadRequestError, "content_policy_violation"),
        ("503", openai.InternalServerError, None),
    ):
        with pytest.raises(kind) as caught:
            await client.chat.completions.create(model=f"gpt-sim-{name}", messages=QUESTION)
        assert caught.value.code == code


async def test_a_mistake_in_the_request_is_the_callers(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="messages"):
        await client.chat.completions.create(model="gpt", messages=[])
