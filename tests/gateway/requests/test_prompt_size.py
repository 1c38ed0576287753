"""The upper bound of a prompt's tokens, which money is reserved for."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.requests import chat_request, decision_text

TEXTS = st.text(max_size=200)
CONTENT = st.one_of(TEXTS, st.none(), st.lists(TEXTS.map(lambda t: {"type": "text", "text": t}), max_size=3))
TURNS = st.fixed_dictionaries({"role": st.sampled_from(sorted(decision_text.ROLES)), "content": CONTENT})


def body(**fields: Any) -> bytes:
    return orjson.dumps({"messages": [{"role": "user", "content": "hi"}], **fields})


@pytest.mark.parametrize("field", ["tools", "functions", "prediction", "response_format", "new"])
def test_whatever_may_become_part_of_the_prompt_is_in_its_bound(field: str) -> None:
    long = {"name": "x", "description": "x" * 100_000}
    value: Any = {"type": "text", **long}
    if field in ("tools", "functions"):
        value = [long]

    assert chat_request.parse(body(**{field: value})).prompt_tokens > 100_000


def test_a_prediction_may_be_billed_as_output() -> None:
    chat = chat_request.parse(
        body(prediction={"type": "content", "content": "x" * 1000}, max_completion_tokens=5)
    )

    assert (5, True) == (chat.output_tokens, chat.predicted_tokens >= 1000)


@given(st.lists(TURNS, min_size=1, max_size=6))
def test_the_bound_is_never_less_than_one_token_a_byte(turns: list[dict[str, Any]]) -> None:
    chat = chat_request.parse(orjson.dumps({"messages": turns}))

    said = [turn["content"] or "" for turn in turns]
    texts = [text if isinstance(text, str) else "".join(part["text"] for part in text) for text in said]
    assert chat.prompt_tokens >= sum(len(text.encode()) for text in texts)
