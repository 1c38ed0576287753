"""One call of a provider: its records, its stream, and how it may break."""

import asyncio
from contextlib import aclosing
from typing import Any

import orjson
import pytest

from services.chassis import errors
from services.executor.attempts.model import Attempt, AttemptState, Work
from services.executor.attempts.retry import RetryPolicy
from services.executor.engines.outcomes import ErrorClass, Failed
from services.executor.engines.usage import Usage
from tests.executor.attempts.stage import (
    ANSWER,
    STREAM,
    Hang,
    Recorder,
    Script,
    fails,
    stage,
    streamed,
)


async def test_a_failure_after_the_first_chunk_reaches_the_caller_and_nothing_is_repeated() -> None:
    a, b = Script([streamed("hel"), *fails(ErrorClass.SERVER_ERROR, billed=True)]), Script(STREAM)
    played = stage({"a": a, "b": b}, "a", "b", stream=True, retries=3)
    seen = []

    with pytest.raises(errors.Unavailable, match="it was server_error"):
        async with aclosing(played.run.chunks()) as chunks:
            async for chunk in chunks:
                seen.append(orjson.loads(chunk.text))  # noqa: PERF401  (it is cut short)

    assert [c["choices"][0]["delta"]["content"] for c in seen] == ["hel"]
    assert b.calls == []
    [attempt] = played.events.made
    assert attempt.state is AttemptState.PARTIAL
    assert attempt.usage == Usage(7, 3)
    assert attempt.estimated


async def test_a_stream_that_ends_without_its_end_is_no_answer() -> None:
    played = stage({"a": Script([streamed("hel")])}, "a", stream=True)

    with pytest.raises(errors.Unavailable) as caught:
        await played.play()

    assert caught.value.reason == "STREAM_CUT"


async def test_a_silence_in_the_middle_of_a_stream_ends_it() -> None:
    played = stage(
        {"a": Script([streamed("hel"), Hang()])},
        "a",
        stream=True,
        policy=RetryPolicy(idle_s=0.02),
        timeout_s=5,
    )

    with pytest.raises(errors.Unavailable):
        await played.play()

    assert played.events.made[0].error is ErrorClass.CUT


@pytest.mark.parametrize("stream", [False, True])
async def test_a_caller_that_disconnects_closes_the_call_and_its_attempt_is_recorded(stream: bool) -> None:
    engine = Script([streamed("hel"), Hang()] if stream else [Hang()])
    played = stage({"a": engine, "b": Script([ANSWER])}, "a", "b", stream=stream)

    await played.leave(lambda: engine.calls)

    assert engine.closed == 1
    [attempt] = played.events.made
    assert (attempt.state, attempt.error) == (AttemptState.PARTIAL, ErrorClass.CANCELLED)
    assert attempt.usage == Usage(7, 3 if stream else 0)
    assert attempt.cost_nano_usd == (7 + 3 * 4 if stream else 900)
    assert len(played.gate.released) == 1


async def test_no_provider_is_called_when_its_call_cannot_be_recorded() -> None:
    engine = Script([ANSWER])
    played = stage(
        {"a": engine}, "a", events=Recorder(errors.Unavailable("no ledger", reason="LEDGER_UNAVAILABLE"))
    )

    with pytest.raises(errors.Unavailable, match="no ledger"):
        await played.play()

    assert engine.calls == []
    assert played.events.made == []
    assert len(played.gate.released) == 1


async def test_usage_is_shown_exactly_when_asked_for() -> None:
    with_usage = await stage(
        {"a": Script(STREAM)}, "a", stream=True, stream_options={"include_usage": True}
    ).play()
    without = await stage({"a": Script(STREAM)}, "a", stream=True).play()

    assert [c["usage"] for c in with_usage] == [None, None, None, ANSWER["usage"]]
    assert with_usage[-1]["choices"] == []
    assert all("usage" not in c for c in without)
    assert len(without) == 3


async def test_usage_is_shown_even_when_the_provider_never_said_it() -> None:
    chunks = await stage(
        {"a": Script(STREAM[:3])}, "a", stream=True, stream_options={"include_usage": True}
    ).play()

    assert chunks[-1]["usage"] == {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}


async def test_a_stream_with_two_choices_ends_when_both_have() -> None:
    def both(index: int, **delta: Any) -> dict[str, Any]:
        finish = delta.pop("finish", None)
        return {**streamed(), "choices": [{"index": index, "delta": delta, "finish_reason": finish}]}

    lines = [both(0, content="a"), both(1, content="b"), both(0, finish="stop")]

    with pytest.raises(errors.Unavailable):
        await stage({"a": Script(lines)}, "a", stream=True).play()
    assert len(await stage({"a": Script([*lines, both(1, finish="stop")])}, "a", stream=True).play()) == 4


async def test_a_stream_that_loses_one_of_the_answers_asked_for_is_no_whole_answer() -> None:
    first = {**streamed(), "choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}]}
    second = {**streamed(), "choices": [{"index": 1, "delta": {"content": "b"}}]}

    with pytest.raises(errors.Unavailable):
        await stage({"a": Script([first, second])}, "a", stream=True, n=2).play()
    with pytest.raises(errors.Unavailable):
        await stage({"a": Script([first])}, "a", stream=True, n=2).play()


MISSHAPEN: list[dict[str, Any]] = [
    {"choices": [None]},
    {"choices": ["x"]},
    {"choices": [{"index": 0, "delta": "x", "message": "x"}]},
]


@pytest.mark.parametrize("line", MISSHAPEN, ids=str)
@pytest.mark.parametrize("stream", [False, True])
async def test_json_of_another_shape_is_malformed_and_falls_back(line: dict[str, Any], stream: bool) -> None:
    good = STREAM if stream else [ANSWER]
    played = stage({"a": Script([line]), "b": Script(good)}, "a", "b", stream=stream)

    assert await played.play()

    assert [ErrorClass.MALFORMED, None] == [attempt.error for attempt in played.events.made]
    assert [AttemptState.PARTIAL, AttemptState.FINAL] == [attempt.state for attempt in played.events.made]


async def test_a_key_in_a_providers_words_goes_no_further() -> None:
    played = stage({"a": Script([Failed(ErrorClass.BAD_REQUEST, "the key sk-x and more")])}, "a")

    with pytest.raises(errors.Invalid) as caught:
        await played.play()

    assert "sk-x" not in f"{caught.value} {played.events.made}"


async def test_a_record_that_cannot_be_made_in_time_calls_no_provider() -> None:
    class Slow(Recorder):
        async def started(self, work: Work, attempt: Attempt) -> None:
            await asyncio.Event().wait()

    engine = Script([ANSWER])
    played = stage({"a": engine}, "a", events=Slow(), deadline_s=0.05)

    with pytest.raises(errors.TimedOut):
        await played.play()

    assert [] == engine.calls
    assert 1 == len(played.gate.released)


async def test_a_caller_that_disconnects_at_the_last_chunk_has_had_a_whole_answer() -> None:
    played = stage({"a": Script(STREAM)}, "a", stream=True, stream_options={"include_usage": True})
    async with aclosing(played.run.chunks()) as chunks:
        async for chunk in chunks:
            if '"usage":{' in chunk.text:
                break

    [attempt] = played.events.made
    assert (AttemptState.FINAL, None, Usage(10, 5)) == (attempt.state, attempt.error, attempt.usage)
    assert not attempt.estimated


async def test_a_caller_that_disconnects_while_the_start_is_recorded_ends_what_may_have_been_recorded() -> (
    None
):
    recording = asyncio.Event()

    class Slow(Recorder):
        async def started(self, work: Work, attempt: Attempt) -> None:
            recording.set()
            await asyncio.Event().wait()

    engine = Script([ANSWER])
    played = stage({"a": engine}, "a", events=Slow())

    await played.leave(recording.is_set)

    [attempt] = played.events.made
    assert (AttemptState.FAILED, ErrorClass.CANCELLED, 0) == (
        attempt.state,
        attempt.error,
        attempt.cost_nano_usd,
    )
    assert [] == engine.calls
    assert [attempt] == played.gate.released


async def test_only_the_last_chunk_of_a_choice_finishes_it() -> None:
    played = stage({"a": Script(STREAM)}, "a", stream=True, stream_options={"include_usage": True})
    async with aclosing(played.run.chunks()) as chunks:
        finishes = [chunk.finishes async for chunk in chunks]

    assert [False, False, True, False] == finishes
