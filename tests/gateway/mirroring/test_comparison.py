"""Answers are read in each API's format, whole or streamed, and compared by what can be counted."""

from typing import Any

import orjson
import pytest

from services.chassis.operations import Operation
from services.gateway.mirroring import answers
from services.gateway.mirroring.answers import Said
from services.gateway.mirroring.comparison import Compared, Side, Wanted, compare, fits_schema, similarity

CALL = {"name": "find", "arguments": '{"a":1}'}
WHOLE: dict[Operation, Any] = {
    Operation.CHAT: {
        "choices": [
            {"message": {"content": "Hi there", "tool_calls": [{"function": CALL}]}, "finish_reason": "stop"},
            {"index": 1, "message": {"content": "another one"}},
        ]
    },
    Operation.RESPONSES: {
        "status": "completed",
        "output": [
            {"type": "message", "content": [{"type": "output_text", "text": "Hi there"}]},
            {"type": "function_call", **CALL},
        ],
    },
    Operation.MESSAGES: {
        "stop_reason": "end_turn",
        "content": [
            {"type": "text", "text": "Hi there"},
            {"type": "tool_use", "name": "find", "input": {"a": 1}},
        ],
    },
}
STREAMED: dict[Operation, list[Any]] = {
    Operation.CHAT: [
        {"choices": [{"index": 0, "delta": {"content": "Hi "}, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {"content": "there"}}]},
        {
            "choices": [
                {"delta": {"tool_calls": [{"index": 0, "function": {"name": "find", "arguments": ""}}]}}
            ]
        },
        {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": '{"a":1}'}}]}}]},
        {"choices": [{"delta": {}, "finish_reason": "stop"}], "lumni": {}},
    ],
    Operation.RESPONSES: [
        {"type": "response.created", "response": {"status": "in_progress", "output": []}},
        {"type": "response.output_text.delta", "delta": "Hi there"},
        {"type": "response.completed", "response": WHOLE[Operation.RESPONSES]},
    ],
    Operation.MESSAGES: [
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi there"}},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "name": "find"}},
        {
            "type": "content_block_delta",
            "index": 1,
            "delta": {"type": "input_json_delta", "partial_json": '{"a":1}'},
        },
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
    ],
}


@pytest.mark.parametrize("operation", list(WHOLE))
def test_an_answer_says_the_same_whole_and_streamed(operation: Operation) -> None:
    whole = answers.read(operation, [orjson.dumps(WHOLE[operation]).decode()], stream=False)
    pieces = [orjson.dumps(piece).decode() for piece in STREAMED[operation]]
    streamed = answers.read(operation, pieces, stream=True)

    for said in (whole, streamed):
        assert ("Hi there", [["find", '{"a":1}']]) == (said.text, list(said.calls.values()))
        assert said.finish in ("stop", "completed", "end_turn")
        assert not said.refused


@pytest.mark.parametrize("piece", ["", "null", "[]", '{"choices": 1}', '{"choices": [null, {"message": 3}]}'])
def test_what_is_no_answer_says_nothing(piece: str) -> None:
    assert Said() == answers.read(Operation.CHAT, [piece], stream=False)


def test_equal_calls_are_equal_in_any_order_and_with_other_spaces() -> None:
    one = Said(calls={0: ["a", '{"x":1,"y":2}'], 1: ["b", "{}"]})
    other = Said(calls={0: ["b", "{ }"], 1: ["a", '{"y": 2, "x": 1}']})
    third = Said(calls={0: ["a", '{"x":1,"y":3}'], 1: ["b", "{}"]})

    assert compare(Side(said=one), Side(said=other), Wanted(tools=True)).tools_equal is True
    assert compare(Side(said=one), Side(said=third), Wanted(tools=True)).tools_equal is False
    assert compare(Side(said=one), Side(said=Said(text="no")), Wanted()).tools_equal is False
    assert compare(Side(said=Said(text="a")), Side(said=Said(text="b")), Wanted()).tools_equal is None


def test_json_is_looked_at_only_where_it_was_asked_for() -> None:
    schema = {
        "type": "object",
        "required": ["n"],
        "additionalProperties": False,
        "properties": {
            "n": {"type": "integer"},
            "kind": {"enum": ["a", "b"]},
            "all": {"type": "array", "items": {"type": ["string", "null"]}},
        },
    }
    good, prose = (
        Side(said=Said(text='{"n": 1, "kind": "a", "all": ["x", null]}')),
        Side(said=Said(text="Sure! {}")),
    )

    compared = compare(good, prose, Wanted(json=True, schema=schema))
    assert (True, False) == (compared.json_valid, compared.target_json_valid)
    assert compare(good, prose, Wanted()).json_valid is None
    assert compare(Side(said=Said(text="[1]")), good, Wanted(json=True)).json_valid is False
    for wrong in ('{"n": true}', '{"n": 1, "m": 2}', '{"n": 1, "kind": "c"}', '{"n": 1, "all": [3]}', "{}"):
        assert not fits_schema(orjson.loads(wrong), schema), wrong


def test_without_an_answer_nothing_is_compared() -> None:
    assert Compared() == compare(Side(failure="UNAVAILABLE"), Side(said=Said(text="x")), Wanted())


def test_similarity_is_the_share_of_words_in_common() -> None:
    assert 1.0 == similarity("The cat sat.", "the  CAT sat.")
    assert 0.0 == similarity("yes", "no")
    assert pytest.approx(2 / 3) == similarity("a b c", "a b d")
    assert (1.0, 0.0) == (similarity("", ""), similarity("", "word"))
