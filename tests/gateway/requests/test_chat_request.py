"""What a request must be, and what a decision reads from it."""

import base64
import contextlib
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lumni.classifier.v1 import classifier_pb2

from services.chassis.errors import Invalid
from services.gateway.config.plans import Plan
from services.gateway.keys.permissions import Caller
from services.gateway.requests import chat_request, decision_text
from services.gateway.requests.hints import Hints

CALLER = Caller(key_id="k", plan=Plan("open"))
HI = {"role": "user", "content": "hi"}


def body(**fields: Any) -> bytes:
    return orjson.dumps({"messages": [HI], **fields})


@pytest.mark.parametrize(
    ("text", "param", "says"),
    [
        (b"{", None, "not valid JSON"),
        (b"[]", None, "JSON object"),
        (b'{"messages": [' + b"[" * 5000 + b"]" * 5000 + b"]}", None, "nested deeper"),
        (b'{"messages": [' + b"[" * 5000, None, "nested deeper than"),
        (b"{}", "messages", "at least one message"),
        (body(messages=[]), "messages", "at least one message"),
        (body(messages="hi"), "messages", "a list"),
        (body(messages=["hi"]), "messages[0]", "an object"),
        (body(messages=[{"role": "robot", "content": "hi"}]), "messages[0].role", "one of system"),
        (body(messages=[{"role": "user", "content": 7}]), "messages[0].content", "a text or a list"),
        (
            body(messages=[{"role": "user", "content": [7]}]),
            "messages[0].content[0]",
            "an object with a type",
        ),
        (
            body(messages=[{"role": "user", "content": [{"type": "text"}]}]),
            "messages[0].content[0].text",
            "a text",
        ),
        (body(model=7), "model", "a text"),
        (body(stream="yes"), "stream", "true or false"),
        (body(stream_options={"include_usage": True}), "stream_options", "only allowed when stream"),
        (body(temperature=3), "temperature", "from 0 to 2"),
        (body(temperature=True), "temperature", "from 0 to 2"),
        (body(top_p="1"), "top_p", "from 0 to 1"),
        (body(n=0), "n", "from 1 to 128"),
        (body(max_tokens=0), "max_tokens", "a whole number"),
        (body(max_tokens=5, max_completion_tokens=1), "max_tokens", "not together"),
        (body(model="m" * 257), "model", "at most 256"),
        (body(model="a\x00b"), "model", "printable"),
        (body(messages=[{"role": [], "content": "hi"}]), "messages[0].role", "one of system"),
        (body(response_format={"type": []}), "response_format.type", "json_schema"),
        (body(max_completion_tokens=1.5), "max_completion_tokens", "a whole number"),
        (body(tools={}), "tools", "a list"),
        (body(tools=[7]), "tools[0]", "an object"),
        (body(response_format="json"), "response_format", "an object"),
        (body(response_format={"type": "xml"}), "response_format.type", "json_schema"),
        (
            body(messages=[{"role": "user", "content": [{"type": "video_url", "video_url": {}}]}]),
            "messages[0].content[0].type",
            "one of text",
        ),
        (
            body(messages=[{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}]),
            "messages[0].content[0].file.file_id",
            "send the content itself",
        ),
        (
            body(messages=[{"role": "user", "content": [{"type": "file", "file": {"filename": "x"}}]}]),
            "messages[0].content[0].file",
            "file_data",
        ),
        (body(prompt=None), "prompt", "not supported here"),
    ],
)
def test_a_mistake_is_named_with_its_field_and_its_mending(text: bytes, param: str | None, says: str) -> None:
    with pytest.raises(Invalid) as caught:
        chat_request.parse(text)

    assert caught.value.param == param
    assert says in caught.value.message


def test_unknown_fields_pass_and_lumni_is_taken_out() -> None:
    chat = chat_request.parse(body(surprise={"a": 1}, lumni={"task_type": "fast"}))

    assert {"messages": [HI], "surprise": {"a": 1}, "stream": False} == chat.body
    assert chat.hints == Hints(task_type="fast")


def test_no_model_means_auto() -> None:
    assert chat_request.parse(body()).model == "auto"


def test_what_a_model_must_be_able_to_do_is_read_from_the_request() -> None:
    parts = [
        {"type": "text", "text": "what is this"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA"}},
    ]
    tool = {"type": "function", "function": {"name": "look"}}
    chat = chat_request.parse(
        body(
            messages=[{"role": "user", "content": parts}],
            tools=[tool],
            response_format={"type": "json_schema"},
        )
    )

    assert (True, True, True, ["look"]) == (chat.vision, chat.audio, chat.file, chat.tools)
    assert chat.output_format == classifier_pb2.OUTPUT_FORMAT_JSON_SCHEMA
    assert chat.messages[0].text == "what is this"
    # An image is bounded by what providers bill for one, not by its bytes.
    assert chat.prompt_tokens < 10_000


def test_long_texts_keep_their_ends_and_say_what_was_left_out() -> None:
    text = "A" * 5000 + "B" * 5000
    chat = chat_request.parse(body(messages=[{"role": "user", "content": text}]))

    message = chat.messages[0]
    assert ("A" * 2000 + "B" * 2000, 6000) == (message.text, message.omitted_chars)
    assert chat.prompt_tokens >= 10_000


def test_long_conversations_keep_the_first_and_the_newest_turns() -> None:
    turns = [{"role": "user", "content": f"{i:04d}" + "x" * 996} for i in range(100)]
    chat = chat_request.parse(body(messages=turns))

    kept = [int(message.text[:4]) for message in chat.messages if message.text]
    assert kept == list(range(100 - len(kept), 100))
    assert sum(len(message.text) for message in chat.messages) <= decision_text.CONVERSATION_CHARS
    assert chat.messages[0].omitted_chars == 1000


TEXTS = st.text(max_size=200)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    [
        "messages",
        "model",
        "stream",
        "n",
        "tools",
        "max_tokens",
        "temperature",
        "response_format",
        "lumni",
        "x",
    ]
)


@given(st.dictionaries(FIELDS, JSON, max_size=6))
def test_any_json_is_read_or_refused_by_name(fields: dict[str, Any]) -> None:
    with contextlib.suppress(Invalid):
        assert chat_request.parse(orjson.dumps(fields)).messages


@given(st.fixed_dictionaries({"role": JSON, "content": JSON}), JSON)
def test_any_message_and_format_is_read_or_refused_by_name(message: dict[str, Any], kind: Any) -> None:
    with contextlib.suppress(Invalid):
        assert chat_request.parse(body(messages=[message], response_format={"type": kind})).messages


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(text: bytes) -> None:
    with pytest.raises(Invalid):
        chat_request.parse(base64.b64encode(text) + b"!")


def test_half_a_surrogate_pair_travels_as_a_replacement() -> None:
    with pytest.raises(Invalid):
        chat_request.parse(b'{"messages": [{"role": "user", "content": "\\ud800"}]}')
