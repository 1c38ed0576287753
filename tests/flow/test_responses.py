"""OpenAI's responses by the official client, in front of a provider that has them and of models that only chat."""

import json
from typing import Any

import asyncpg
import httpx
import openai
import pytest
from openai.types.responses import Response
from pydantic import BaseModel

from tests.flow.provider_counts import counted_alike
from tests.flow.stack import ADMIN_KEY, Stack
from tests.simulator import Simulator

pytestmark = pytest.mark.asyncio(loop_scope="session")
# One whose provider speaks the format, one in OpenAI's chat format, one in Anthropic's.
MODELS = ("responder", "large", "native")
WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": False,
}
TIME: Any = {**WEATHER, "name": "get_time"}
QUESTION = "What is the weather in Paris?"


class Weather(BaseModel):
    """A schema to follow."""

    city: str
    degrees: int


@pytest.mark.parametrize("model", MODELS)
async def test_a_response_is_whole_and_costs_what_the_provider_counts(
    stack: Stack, provider: Simulator, client: openai.AsyncOpenAI, model: str
) -> None:
    async with counted_alike(stack, provider, model) as bill:
        response = await client.responses.create(
            model=model, input=QUESTION, instructions="Be brief.", max_output_tokens=50, metadata={"a": "b"}
        )

    assert ("response", "completed", model) == (response.object, response.status, response.model)
    assert response.output_text.startswith("Echo What is the weather")
    assert f"resp_{str(response._request_id).replace('-', '')}" == response.id
    assert ("Be brief.", 50, {"a": "b"}) == (
        response.instructions,
        response.max_output_tokens,
        response.metadata,
    )
    assert response.usage is not None
    assert (bill.prompt_tokens, bill.completion_tokens) == (
        response.usage.input_tokens,
        response.usage.output_tokens,
    )
    extra = response.model_extra
    assert extra is not None
    assert bill.cost_nano_usd == extra["lumni"]["cost"]["nano_usd"]


@pytest.mark.parametrize("model", MODELS)
async def test_a_stream_has_the_specifications_events_in_their_order(
    stack: Stack, provider: Simulator, client: openai.AsyncOpenAI, model: str
) -> None:
    async with counted_alike(stack, provider, model):
        stream = await client.responses.create(model=model, input=QUESTION, max_output_tokens=5, stream=True)
        events = [event async for event in stream]

    assert [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        *["response.output_text.delta"] * 5,
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.incomplete",
    ] == [event.type for event in events]
    assert list(range(len(events))) == [event.sequence_number for event in events]
    last = events[-1]
    assert last.type == "response.incomplete"
    assert last.response.incomplete_details is not None
    assert "max_output_tokens" == last.response.incomplete_details.reason
    assert last.response.model_extra is not None
    assert last.response.model_extra["lumni"]["cost"]["nano_usd"] > 0
    ids = {event.response.id for event in events if hasattr(event, "response")}
    assert {last.response.id} == ids
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert last.response.output_text == "".join(deltas)
    # Items are known by their ids throughout.
    (item,) = last.response.output
    assert {item.id} == {event.item_id for event in events if hasattr(event, "item_id")}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", MODELS)
async def test_functions_are_called_in_parallel_and_their_results_go_back(
    stack: Stack, provider: Simulator, client: openai.AsyncOpenAI, model: str, *, stream: bool
) -> None:
    async def ask(items: Any) -> Response:
        about: Any = {"model": model, "tools": [WEATHER, TIME], "input": items, "max_output_tokens": 200}
        if not stream:
            response: Response = await client.responses.create(**about)
            return response
        async with client.responses.stream(**about) as events:
            return await events.get_final_response()

    question: Any = [{"role": "user", "content": [{"type": "input_text", "text": QUESTION}]}]
    async with counted_alike(stack, provider, model) as bill:
        called = await ask(question)
        calls = [item for item in called.output if item.type == "function_call"]
        results = [
            {"type": "function_call_output", "call_id": call.call_id, "output": "18 degrees"}
            for call in calls
        ]
        answered = await ask([*question, *(item.to_dict() for item in called.output), *results])

    assert [("get_weather", {"city": "text"}), ("get_time", {"city": "text"})] == [
        (call.name, json.loads(call.arguments)) for call in calls
    ]
    assert 2 == len({call.call_id for call in calls})
    assert answered.output_text
    assert 2 == bill.requests


@pytest.mark.parametrize("model", ["responder", "large"])
async def test_an_answer_follows_a_schema(client: openai.AsyncOpenAI, model: str) -> None:
    response = await client.responses.parse(model=model, input=QUESTION, text_format=Weather)

    assert Weather(city="text", degrees=1) == response.output_parsed


async def test_a_tool_of_free_text_is_called_by_a_model_that_only_knows_functions(
    client: openai.AsyncOpenAI,
) -> None:
    tool: Any = {"type": "custom", "name": "run_code", "description": "Runs it."}
    response = await client.responses.create(model="large", input=QUESTION, tools=[tool])
    stream = await client.responses.create(model="large", input=QUESTION, tools=[tool], stream=True)
    kinds = [event.type async for event in stream]

    (call,) = response.output
    assert call.type == "custom_tool_call"
    assert ("run_code", "text") == (call.name, call.input)
    assert [
        "response.output_item.added",
        "response.custom_tool_call_input.delta",
        "response.custom_tool_call_input.done",
        "response.output_item.done",
    ] == kinds[2:-1]


async def test_a_picture_reaches_a_model_that_only_chats(
    provider: Simulator, client: openai.AsyncOpenAI
) -> None:
    parts: Any = [
        {"type": "input_text", "text": "canary-response-picture"},
        {"type": "input_image", "image_url": "data:image/png;base64,aGk=", "detail": "low"},
    ]
    await client.responses.create(model="large", input=[{"role": "user", "content": parts}])
    sent = next(
        one for one in reversed(await provider.requests()) if "canary-response" in json.dumps(one["body"])
    )

    assert "/v1/chat/completions" == sent["path"]
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk=", "detail": "low"}}
    assert picture == sent["body"]["messages"][0]["content"][1]


async def test_nothing_is_kept_at_the_provider(provider: Simulator, client: openai.AsyncOpenAI) -> None:
    response = await client.responses.create(model="responder", input="canary-store", store=False)
    sent = next(
        one for one in reversed(await provider.requests()) if "canary-store" in json.dumps(one["body"])
    )

    assert sent["body"]["store"] is False
    assert response.model_extra is not None
    assert response.model_extra["store"] is False


async def test_a_stream_that_is_cut_ends_with_an_error_that_the_client_raises(
    client: openai.AsyncOpenAI, http: httpx.AsyncClient
) -> None:
    stream = await client.responses.create(model="cuts", input=QUESTION, stream=True)
    seen = []
    with pytest.raises(openai.APIError):
        async for event in stream:
            seen.append(event.type)  # noqa: PERF401
    text = (await http.post("/v1/responses", json={"model": "cuts", "input": QUESTION, "stream": True})).text
    *_, last = [event for event in text.split("\n\n") if event]
    name, data = last.split("\n")

    assert "response.created" == seen[0]
    assert "event: error" == name
    error = json.loads(data.removeprefix("data: "))
    assert ("error", "stream_cut", len(seen)) == (error["type"], error["code"], error["sequence_number"])


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "input"),
        ({"input": []}, "input"),
        ({"input": "a", "store": "yes"}, "store"),
        ({"input": "a", "background": True}, "background"),
        ({"input": "a", "tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"input": [{"type": "message", "role": "user"}]}, "input[0].content"),
    ],
)
async def test_a_wrong_body_names_its_field(http: httpx.AsyncClient, body: Any, param: str) -> None:
    answer = await http.post("/v1/responses", json={"model": "small", **body})

    assert (400, param) == (answer.status_code, answer.json()["error"]["param"])


async def test_a_conversation_goes_on_from_its_responses(
    stack: Stack, provider: Simulator, client: openai.AsyncOpenAI
) -> None:
    first = await client.responses.create(model="large", input="canary-first", instructions="Be brief.")
    stream = await client.responses.create(
        model="native", input="canary-second", previous_response_id=first.id, stream=True
    )
    ends = [event async for event in stream if event.type == "response.completed"]
    second = ends[0].response
    third = await client.responses.create(model="large", input="canary-third", previous_response_id=second.id)
    sent = (await provider.requests())[-1]["body"]["messages"]

    assert [first.id, second.id] == [second.previous_response_id, third.previous_response_id]
    assert [
        ("user", "canary-first"),
        ("assistant", first.output_text),
        ("user", "canary-second"),
        ("assistant", second.output_text),
        ("user", "canary-third"),
    ] == [(message["role"], message["content"]) for message in sent]
    again = await client.responses.retrieve(second.id)
    assert (second.id, second.output, True) == (again.id, again.output, (again.model_extra or {})["store"])
    # The database alone tells nothing of it.
    connection = await asyncpg.connect(stack.database)
    try:
        sealed = await connection.fetchval("SELECT sealed FROM responses WHERE response_id = $1", first.id)
    finally:
        await connection.close()
    assert b"canary" not in sealed

    await client.responses.delete(second.id)
    for gone in (second.id, "resp_nothing"):
        with pytest.raises(openai.NotFoundError) as missing:
            await client.responses.create(model="large", input="a", previous_response_id=gone)
        assert ("previous_response_id", "response_not_found") == (missing.value.param, missing.value.code)
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(second.id)
    assert (await client.responses.retrieve(third.id)).id == third.id


async def test_functions_results_go_back_to_a_kept_response(client: openai.AsyncOpenAI) -> None:
    called = await client.responses.create(model="large", input=QUESTION, tools=[WEATHER])
    (call,) = called.output
    assert call.type == "function_call"
    output: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "18 degrees"}
    answered = await client.responses.create(
        model="large", input=[output], tools=[WEATHER], previous_response_id=called.id
    )

    assert answered.output_text


async def test_what_is_not_to_be_stored_is_not(stack: Stack, client: openai.AsyncOpenAI) -> None:
    response = await client.responses.create(model="large", input="a", store=False)

    assert (response.model_extra or {})["store"] is False
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(response.id)


async def test_nobody_else_reaches_a_kept_response(stack: Stack, client: openai.AsyncOpenAI) -> None:
    response = await client.responses.create(model="large", input="a")
    async with httpx.AsyncClient(base_url=stack.rest, trust_env=False, timeout=60) as http:
        made = await http.post(
            "/admin/keys", json={"user_id": "else"}, headers={"authorization": f"Bearer {ADMIN_KEY}"}
        )
        http.headers["authorization"] = f"Bearer {made.json()['key']}"
        answers = [
            await http.get(f"/v1/responses/{response.id}"),
            await http.delete(f"/v1/responses/{response.id}"),
            await http.post(
                "/v1/responses", json={"model": "large", "input": "a", "previous_response_id": response.id}
            ),
        ]

    assert [404] * 3 == [answer.status_code for answer in answers]
    assert (await client.responses.retrieve(response.id)).id == response.id


async def test_tokens_are_counted_without_a_call(provider: Simulator, client: openai.AsyncOpenAI) -> None:
    first = await client.responses.create(model="large", input="one two three " * 50)
    before = (await provider.counts())["requests"]
    alone = await client.responses.input_tokens.count(model="large", input="hello")
    continued = await client.responses.input_tokens.count(
        model="large", input="hello", previous_response_id=first.id
    )

    assert "response.input_tokens" == alone.object
    assert continued.input_tokens > alone.input_tokens + 100
    assert before == (await provider.counts())["requests"]


async def test_a_failing_model_falls_back(client: openai.AsyncOpenAI) -> None:
    response = await client.responses.create(model="breaks", input=QUESTION)
    chosen = await client.responses.create(model="auto", input=QUESTION)

    assert "small" == response.model
    assert chosen.model in ("small", "large")


async def test_the_items_that_a_response_was_made_from_are_listed(client: openai.AsyncOpenAI) -> None:
    first = await client.responses.create(model="small", input="One.", store=True)
    second = await client.responses.create(
        model="small", input="Two.", store=True, previous_response_id=first.id
    )
    listed = [item async for item in client.responses.input_items.list(second.id, order="asc", limit=2)]

    assert ["user", "assistant", "user"] == [getattr(item, "role", None) for item in listed]
    assert 3 == len({item.id for item in listed})
    with pytest.raises(openai.NotFoundError):
        await client.responses.input_items.list("resp_unknown")


async def test_nothing_is_made_in_the_background_so_nothing_can_be_cancelled(
    client: openai.AsyncOpenAI,
) -> None:
    response = await client.responses.create(model="small", input="One.", store=True)
    refused = []
    for call in (
        client.responses.create(model="small", input="One.", background=True),
        client.responses.cancel(response.id),
    ):
        with pytest.raises(openai.BadRequestError) as error:
            await call
        refused.append(error.value.param)

    assert ["background", "background"] == refused
    with pytest.raises(openai.NotFoundError):
        await client.responses.cancel("resp_unknown")
