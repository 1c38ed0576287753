"""What of a provider's answer reaches the caller, and which chunk ends it."""

from typing import Any

import orjson
import pytest

from services.chassis.operations import Operation
from services.executor.bridges.calling import BRIDGES
from services.executor.engines.base import Piece
from services.executor.engines.outcomes import ErrorClass, Failed
from services.executor.engines.usage import Usage
from services.executor.formats.base import Chunk
from services.executor.formats.factory import response_format
from tests.executor.fleet import deployment


def piece(text: str) -> Piece:
    return Piece(orjson.loads(text), text)


def test_a_chunk_that_needs_no_edit_keeps_its_text_and_its_end_is_known_whatever_its_spaces() -> None:
    text = '{"model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason" : "stop"}]}'
    answer = response_format(Operation.CHAT, "m", {})

    assert [Chunk(text, finishes=True)] == answer.chunk(piece(text))
    assert answer.complete


def test_text_that_looks_like_an_end_is_none() -> None:
    content = '"finish_reason":"stop"'
    data = {"model": "m", "choices": [{"index": 0, "delta": {"content": content}, "finish_reason": None}]}
    answer = response_format(Operation.CHAT, "m", {})

    [chunk] = answer.chunk(Piece(data))

    assert not chunk.finishes
    assert not answer.complete


def test_each_choice_has_an_end_of_its_own() -> None:
    answer = response_format(Operation.CHAT, "m", {"n": 2})
    finishes: list[bool] = []
    for index, reason in ((0, None), (1, None), (1, "stop"), (0, "length")):
        data = {"choices": [{"index": index, "delta": {"content": "x"}, "finish_reason": reason}]}
        finishes += [chunk.finishes for chunk in answer.chunk(Piece(data))]

    assert [False, False, True, True] == finishes
    assert answer.complete


EVENTS: dict[Operation, list[dict[str, Any]]] = {
    Operation.RESPONSES: [
        {"type": "response.output_text.delta", "delta": "hi"},
        {
            "type": "response.completed",
            "response": {"model": "theirs", "usage": {"input_tokens": 3, "output_tokens": 2}},
        },
    ],
    Operation.MESSAGES: [
        {"type": "message_start", "message": {"model": "theirs", "usage": {"input_tokens": 3}}},
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "hi"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
    ],
}


@pytest.mark.parametrize(
    ("operation", "finishes"),
    [(Operation.RESPONSES, [False, True]), (Operation.MESSAGES, [False, False, True, False])],
)
def test_events_of_other_formats_name_their_end(operation: Operation, finishes: list[bool]) -> None:
    answer = response_format(operation, "public", {})
    chunks = [chunk for data in EVENTS[operation] for chunk in answer.chunk(Piece(data))]

    assert finishes == [chunk.finishes for chunk in chunks]
    assert (True, Usage(3, 2), ["hi"]) == (answer.complete, answer.usage, answer.texts)
    assert all("theirs" not in chunk.text for chunk in chunks)


@pytest.mark.parametrize(
    ("operation", "error"),
    [
        (Operation.RESPONSES, {"type": "response.failed", "response": {"error": {"code": "server_error"}}}),
        (Operation.MESSAGES, {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}),
    ],
)
def test_an_error_event_is_a_failure(operation: Operation, error: dict[str, Any]) -> None:
    with pytest.raises(Failed) as caught:
        response_format(operation, "public", {}).chunk(Piece(error))

    assert caught.value.error in (ErrorClass.SERVER_ERROR, ErrorClass.OVERLOADED)


@pytest.mark.parametrize("operation", Operation)
def test_an_answer_without_what_makes_it_one_is_malformed(operation: Operation) -> None:
    with pytest.raises(Failed) as caught:
        response_format(operation, "public", {}).whole(Piece({"id": "x"}))

    assert caught.value.error is ErrorClass.MALFORMED


@pytest.mark.parametrize("operation", [Operation.MESSAGES, Operation.RESPONSES])
def test_the_tier_that_a_chat_was_served_by_is_the_one_that_is_paid(operation: Operation) -> None:
    chats = deployment("http://127.0.0.1:1")
    body = {"messages": [{"role": "user", "content": "a"}], "input": "a"}
    usage = {"prompt_tokens": 5, "completion_tokens": 2}
    choice = {"index": 0, "finish_reason": "stop"}
    whole = {**choice, "message": {"content": "b"}}
    answer = response_format(operation, "m", {})
    answer.whole(
        Piece(
            BRIDGES[operation](body, chats).whole(
                {"choices": [whole], "usage": usage, "service_tier": "priority"}
            )
        )
    )
    streamed, bridge = response_format(operation, "m", {}), BRIDGES[operation](body, chats)
    chunks: list[dict[str, Any]] = [
        {"choices": [{**choice, "delta": {"content": "b"}}], "service_tier": "priority"},
        {"choices": [], "usage": usage},
    ]
    for event in [*(one for chunk in chunks for one in bridge.events(chunk)), *bridge.end(done=True)]:
        streamed.chunk(Piece(event))

    for one in (answer, streamed):
        assert ("priority", True) == (one.service_tier, one.complete)
        assert one.usage is not None
        assert (5, 2) == (one.usage.prompt_tokens, one.usage.completion_tokens)
