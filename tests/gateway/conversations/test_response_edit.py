"""What Lumni says of a response, and what a conversation goes on with."""

from collections.abc import AsyncGenerator
from typing import Any

import orjson

from services.chassis import errors
from services.gateway.conversations import conversation
from services.gateway.conversations.response_edit import ResponseEdit, of_request


async def stream(*given: dict[str, Any] | errors.Fault) -> AsyncGenerator[str, None]:
    for one in given:
        if isinstance(one, errors.Fault):
            raise one
        yield orjson.dumps(one).decode()


def event(kind: str, **response: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", "response": {"id": "resp_theirs", "store": False, **response}}


async def test_every_event_shows_lumnis_id_and_the_last_is_kept_before_it_is_sent() -> None:
    seen: list[dict[str, Any]] = []

    async def keep(response: dict[str, Any]) -> bool:
        seen.append(dict(response))
        return True

    edit = ResponseEdit(of_request("0198-ab"), "resp_0", keep)
    delta = {"type": "response.output_text.delta", "delta": 'a "response":'}
    sent = [
        orjson.loads(one) async for one in edit.events(stream(event("created"), delta, event("completed")))
    ]

    assert delta == sent[1]
    for one in (sent[0], sent[2]):
        shown = one["response"]
        assert ("resp_0198ab", "resp_0", True) == (
            shown["id"],
            shown["previous_response_id"],
            shown["store"],
        )
    assert ["resp_0198ab"] == [response["id"] for response in seen]


async def test_a_response_that_could_not_be_kept_says_so() -> None:
    async def keep(_: dict[str, Any]) -> bool:
        return False

    assert (await ResponseEdit("resp_1", keep=keep).whole({"output": []}))["store"] is False


async def test_a_cut_stream_ends_with_an_error_event_and_keeps_nothing() -> None:
    async def keep(_: dict[str, Any]) -> bool:
        raise AssertionError

    cut = errors.Unavailable("the stream ended before its end", reason="STREAM_CUT")
    edit = ResponseEdit("resp_1", keep=keep)
    sent = [orjson.loads(one) async for one in edit.events(stream(event("created"), cut))]

    assert ("error", 1, "stream_cut") == (sent[1]["type"], sent[1]["sequence_number"], sent[1]["code"])


def test_a_conversation_goes_on_with_what_was_said_and_without_what_only_its_provider_knows() -> None:
    response = {
        "output": [
            {"type": "reasoning", "id": "rs_1", "summary": []},
            {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "e", "status": None},
            {
                "type": "message",
                "id": "msg_1",
                "status": "completed",
                "role": "assistant",
                "content": [
                    {"type": "output_text", "text": "a", "annotations": [{"file_id": "f"}], "logprobs": []},
                    {"type": "refusal", "refusal": "b"},
                ],
            },
            {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "n", "arguments": "{}"},
        ]
    }

    assert [
        {"role": "user", "content": "q"},
        {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "e"},
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "a"}, {"type": "refusal", "refusal": "b"}],
        },
        {"type": "function_call", "call_id": "c", "name": "n", "arguments": "{}"},
    ] == conversation.after([{"role": "user", "content": "q"}], response)
