"""How much a body may hold, counted before it is parsed."""

from collections.abc import Sequence
from contextlib import nullcontext

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis import json_bounds
from services.chassis.errors import Invalid
from services.chassis.json_bounds import MAX_DEPTH, MAX_VALUES
from services.gateway.requests import chat_request, fields

HI = '"messages":[{"role":"user","content":"hi"}]'


@pytest.mark.parametrize(
    "text",
    [
        "{" + HI + ',"tools":[' + "{}," * MAX_VALUES + "{}]}",
        "{" + HI + ',"x":[' + "0," * MAX_VALUES + "0]}",
        "{" + HI + ',"x":[' + "[]," * MAX_VALUES + "0]}",
        "{" + HI + "," + ",".join(f'"{i}":0' for i in range(MAX_VALUES)) + "}",
        '{"messages":[' + ",".join(['{"role":"user","content":"hi"}'] * MAX_VALUES) + "]}",
    ],
    ids=["tools", "numbers", "lists", "keys", "messages"],
)
def test_too_many_values_are_refused_before_anything_is_built(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def parse(_: object) -> object:
        raise AssertionError("parsed")

    monkeypatch.setattr(orjson, "loads", parse)
    with pytest.raises(Invalid, match="more than 50000 values") as caught:
        chat_request.parse(text.encode())
    assert "JSON_TOO_MANY_VALUES" == caught.value.reason


@pytest.mark.parametrize(("left", "right"), [("[", "]"), ('{"a":', "}"), ('[{"a\\"]":', "}]")])
def test_what_is_nested_deeper_than_anybody_needs_is_refused(left: str, right: str) -> None:
    levels = MAX_DEPTH // left.count("[") if "{" in left and "[" in left else MAX_DEPTH
    levels = levels // 2 if left.startswith("[{") else levels
    json_bounds.check((left * levels + "1" + right * levels).encode())
    with pytest.raises(Invalid, match="deeper"):
        json_bounds.check((left * 300 + "1" + right * 300).encode())


@pytest.mark.parametrize(
    "text", [",[{" * 100_000, '\\",[{' * 100_000, "\\" * 100_001 + '"', "\u00e9,[" * 100_000]
)
def test_what_stands_in_a_text_is_no_value(text: str) -> None:
    chat = chat_request.parse(orjson.dumps({"messages": [{"role": "user", "content": text}]}))

    assert text == chat.body["messages"][0]["content"]


def test_a_quote_that_is_escaped_across_chunks_ends_no_text() -> None:
    for more in range(4):
        text = "a" * (json_bounds.CHUNK - 12 + more) + '\\"' + ",[{" * MAX_VALUES
        json_bounds.check(orjson.dumps({"messages": text}))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text('"\\,[]{}:a\u00e9'),
    lambda inner: st.lists(inner) | st.dictionaries(st.text('"\\,[]{}:a'), inner),
)


def depth(value: object) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


def refused(pieces: Sequence[bytes], most_values: int) -> str:
    """Why a text in pieces is refused; empty where it passes."""
    count = json_bounds.Count(most_values)
    try:
        for piece in pieces:
            count.add(piece)
    except Invalid as fault:
        return fault.reason
    return ""


@given(JSON, st.integers(1, 40), st.integers(0, 20))
def test_it_makes_no_difference_where_a_text_is_cut(value: object, size: int, most_values: int) -> None:
    text = orjson.dumps(value)
    pieces = [text[place : place + size] for place in range(0, len(text), size)]

    assert refused([text], most_values) == refused(pieces, most_values)


def test_what_holds_too_much_is_refused_at_the_piece_that_says_so() -> None:
    count = json_bounds.Count(10)
    count.add(b'{"a": [1, 2, 3, "\\')
    count.add(b'", [{,,,,,,,,,,')
    with pytest.raises(Invalid, match="more than 10 values"):
        count.add(b'", 4, 5, 6, 7, 8, 9, 10')


def test_after_what_is_no_json_nothing_is_counted() -> None:
    json_bounds.check(b"[0]]" + b" " * json_bounds.CHUNK + b",[" * MAX_VALUES)


@given(JSON, st.integers(0, 80))
def test_depth_is_counted_as_it_is(value: object, more: int) -> None:
    for _ in range(more):
        value = [value]
    # Beside so many commas that the bound is not shown by their number alone.
    text = orjson.dumps([value, *[0] * 100])
    too_deep = 1 + depth(value) > MAX_DEPTH
    with pytest.raises(Invalid) if too_deep else nullcontext():
        json_bounds.check(text)


@pytest.mark.parametrize(
    ("field", "value", "param"),
    [
        ("tools", [{"type": "function"}] * (fields.MAX_TOOLS + 1), "tools"),
        ("stop", ["a"] * (fields.MAX_STOPS + 1), "stop"),
        ("tools", [{"type": "function", "function": {"name": "a" * 257}}], "tools[0].name"),
        ("messages", [{"role": "user", "content": "a"}] * (chat_request.MAX_MESSAGES + 1), "messages"),
        (
            "messages",
            [{"role": "user", "content": [{"type": "text", "text": "a"}] * (chat_request.MAX_PARTS // 2 + 1)}]
            * 2,
            "messages[1].content",
        ),
    ],
)
def test_counts_are_bounded_by_field(field: str, value: object, param: str) -> None:
    body = {"messages": [{"role": "user", "content": "hi"}], field: value}
    with pytest.raises(Invalid, match="at most") as caught:
        chat_request.parse(orjson.dumps(body))
    assert param == caught.value.param


def test_a_body_has_a_bounded_number_of_fields() -> None:
    body = {"messages": [{"role": "user", "content": "hi"}], **{f"x{i}": 0 for i in range(300)}}
    with pytest.raises(Invalid, match="more than 256 fields"):
        chat_request.parse(orjson.dumps(body))
