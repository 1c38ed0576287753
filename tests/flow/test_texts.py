"""Legacy completions and embeddings by the official client's own methods, whole road."""

from typing import Any

import httpx
import openai
import pytest

from services.gateway.rest import not_served
from tests.flow.provider_counts import counted_alike
from tests.flow.stack import Stack
from tests.simulator import Simulator

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_embeddings_cost_what_the_provider_counts(
    stack: Stack, provider: Simulator, client: openai.AsyncOpenAI
) -> None:
    async with counted_alike(stack, provider, "vectors") as bill:
        one = await client.embeddings.create(model="vectors", input="the quick brown fox")
        many = await client.embeddings.create(
            model="vectors", input=["one", "two words"], encoding_format="float", dimensions=8
        )
        tokens = await client.embeddings.create(model="vectors", input=[[1, 2, 3], [4]])

    assert (3, 20) == (bill.requests, bill.cost_nano_usd // bill.prompt_tokens)
    assert 16 == len(one.data[0].embedding)
    assert [8, 8] == [len(vector.embedding) for vector in many.data]
    assert [0, 1] == [vector.index for vector in tokens.data]
    assert "vectors" == one.model
    extra = one.model_extra
    assert extra is not None
    assert ("vectors@openai", 80) == (extra["lumni"]["deployment"], extra["lumni"]["cost"]["nano_usd"])


@pytest.mark.parametrize("model", ["auto", "small"])
async def test_only_a_named_embedding_model_makes_vectors(client: openai.AsyncOpenAI, model: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await client.embeddings.create(model=model, input="text")

    assert "model" == refused.value.param


@pytest.mark.parametrize("model", ["legacy", "small"])
async def test_a_text_is_gone_on_with_by_models_that_complete_and_by_models_that_chat(
    stack: Stack, provider: Simulator, client: openai.AsyncOpenAI, model: str
) -> None:
    async with counted_alike(stack, provider, model) as bill:
        whole = await client.completions.create(
            model=model, prompt="Once upon a time", max_tokens=5, n=2, temperature=0
        )
        stream = await client.completions.create(
            model=model,
            prompt="Once upon a time",
            max_tokens=5,
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]

    assert 2 == bill.requests
    assert (model, "text_completion") == (whole.model, whole.object)
    assert ["length", "length"] == [choice.finish_reason for choice in whole.choices]
    assert whole.usage is not None
    assert 10 == whole.usage.completion_tokens
    *rest, last = chunks
    text = "".join(choice.text for chunk in rest for choice in chunk.choices)
    assert whole.choices[0].text == text
    assert last.usage is not None
    assert 5 == last.usage.completion_tokens
    assert last.model_extra is not None
    assert last.model_extra["lumni"]["cost"]["nano_usd"] > 0


async def test_what_a_chat_model_cannot_complete_is_said_and_costs_nothing(
    stack: Stack, provider: Simulator, client: openai.AsyncOpenAI
) -> None:
    async with counted_alike(stack, provider, "small") as bill:
        with pytest.raises(openai.BadRequestError) as refused:
            await client.completions.create(model="small", prompt="def f():", suffix="return 1")

    assert ("suffix", 0) == (refused.value.param, bill.requests)


async def test_a_wrong_body_names_its_field(http: httpx.AsyncClient) -> None:
    answers = [
        await http.post("/v1/embeddings", json={"model": "vectors"}),
        await http.post("/v1/completions", json={"model": "small", "prompt": ""}),
        await http.post("/v1/completions", json={"model": "small", "prompt": "a", "store": True}),
    ]

    assert [400] * 3 == [answer.status_code for answer in answers]
    assert ["input", "prompt", "store"] == [answer.json()["error"]["param"] for answer in answers]


async def test_texts_and_pictures_are_judged_for_nothing(
    stack: Stack, provider: Simulator, client: openai.AsyncOpenAI
) -> None:
    texts = await client.moderations.create(model="judge", input=["I kill you", "hello"])
    picture: Any = {"type": "image_url", "image_url": {"url": "https://a.example/a.png"}}
    parts = await client.moderations.create(input=[{"type": "text", "text": "hello"}, picture])

    assert ("judge", 2, True) == (texts.model, len(texts.results), texts.results[0].flagged)
    assert [False] == [result.flagged for result in parts.results]
    extra = parts.model_extra
    assert extra is not None
    assert ("judge@openai", 0) == (extra["lumni"]["deployment"], extra["lumni"]["cost"]["nano_usd"])


@pytest.mark.parametrize("prefix", ["", "/v1"])
@pytest.mark.parametrize("path", sorted(not_served.WHY))
async def test_what_is_not_served_says_so(http: httpx.AsyncClient, path: str, prefix: str) -> None:
    answer = await http.post(path.removeprefix(prefix), json={})

    assert (404, "not_supported") == (answer.status_code, answer.json()["error"]["code"])
    assert "not served here" in answer.json()["error"]["message"]
