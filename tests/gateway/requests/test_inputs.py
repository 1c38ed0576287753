"""What legacy completions and embeddings take, and how much of it is reserved."""

from typing import Any

import orjson
import pytest

from services.chassis.errors import Invalid
from services.chassis.operations import Operation
from services.gateway.requests import completions_request, embeddings_request, moderations_request


def completion(**fields: Any) -> bytes:
    return orjson.dumps({"model": "small", "prompt": "Go on:", **fields})


def embedding(**fields: Any) -> bytes:
    return orjson.dumps({"model": "vectors", "input": "a text", **fields})


@pytest.mark.parametrize(
    ("given", "bound", "longest"),
    [
        ("twelve bytes", 12, 3),
        (["twelve bytes", "five5"], 17, 3),
        ([1, 2, 3, 4], 4, 4),
        ([[1, 2], [3, 4, 5]], 5, 3),
        ("日本語", 9, 4),
    ],
)
def test_all_texts_are_paid_for_and_the_longest_must_fit_the_window(
    given: Any, bound: int, longest: int
) -> None:
    asked = embeddings_request.parse(embedding(input=given))

    assert (Operation.EMBEDDINGS, bound, longest) == (
        asked.operation,
        asked.prompt_tokens,
        asked.window_tokens,
    )
    assert 0 == asked.output_bound(256)
    assert {"model": "vectors", "input": given} == asked.capped(256)


def test_each_prompt_and_each_draft_of_a_completion_is_an_answer_that_is_billed() -> None:
    asked = completions_request.parse(completion(prompt=["a", "b", "c"], n=2, best_of=4, max_tokens=7))

    assert (12, 7) == (asked.choices, asked.output_bound(256))


def test_a_completion_without_a_limit_gets_the_one_that_openai_documents() -> None:
    asked = completions_request.parse(completion())

    assert (16, 16) == (asked.output_bound(256), asked.body["max_tokens"])


@pytest.mark.parametrize(
    ("text", "param"),
    [
        (embedding(input=None), "input"),
        (embedding(input=""), "input"),
        (embedding(input=[]), "input"),
        (embedding(input=["a", ""]), "input[1]"),
        (embedding(input=["a", [1, "b"]]), "input[1]"),
        (embedding(input=[[True]]), "input[0]"),
        (embedding(input=[1, -1]), "input"),
        (embedding(input={"text": "a"}), "input"),
        (embedding(input=["a"] * 2049), "input"),
        (embedding(model="auto"), "model"),
        (embedding(model=None), "model"),
        (embedding(stream=True), "stream"),
        (embedding(dimensions=0), "dimensions"),
        (embedding(encoding_format="hex"), "encoding_format"),
        (embedding(lumni={"task_type": "slow"}), "lumni.task_type"),
        (embedding(cache=True), "cache"),
        (completion(prompt=None), "prompt"),
        (completion(prompt=["a"] * 129), "prompt"),
        (completion(prompt={"id": "pmpt_1"}), "prompt"),
        (completion(max_tokens=0), "max_tokens"),
        (completion(best_of=129), "best_of"),
        (completion(stream_options={}), "stream_options"),
        (completion(stream="yes"), "stream"),
        (completion(temperature=3), "temperature"),
        (completion(store=True), "store"),
    ],
)
def test_a_mistake_is_named_by_its_field(text: bytes, param: str) -> None:
    parse = embeddings_request.parse if b'"input"' in text else completions_request.parse
    with pytest.raises(Invalid) as refused:
        parse(text)

    assert param == refused.value.param


def test_clients_that_send_tokens_may_send_as_many_as_openai_takes() -> None:
    asked = embeddings_request.parse(embedding(input=[[7] * 1000] * 300))

    assert (300_000, 1000) == (asked.prompt_tokens, asked.window_tokens)


@pytest.mark.parametrize(
    ("given", "param"),
    [
        (None, "input"),
        ("", "input"),
        ([{"type": "video"}], "input[0].type"),
        ([{"type": "text"}], "input[0].text"),
        (["a", {"type": "text", "text": "a"}], "input[0].type"),
        ([{"type": "image_url", "image_url": "https://a.example"}], "input[0].image_url"),
    ],
)
def test_what_is_to_be_judged_is_texts_or_parts(given: Any, param: str) -> None:
    with pytest.raises(Invalid) as refused:
        moderations_request.parse(orjson.dumps({"input": given}))

    assert param == refused.value.param


def test_a_picture_to_judge_is_bounded() -> None:
    picture = {"type": "image_url", "image_url": {"url": "https://a.example/a.png"}}
    asked = moderations_request.parse(orjson.dumps({"input": [picture]}))

    assert ("auto", True, 0) == (asked.model, asked.prompt_tokens > 8000, asked.output_bound(256))
