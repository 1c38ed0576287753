"""What attempts cost, whole and broken."""

from dataclasses import replace
from typing import Any

import pytest

from services.chassis import errors
from services.chassis.costs import Cost
from services.chassis.deployments import Deployment
from services.chassis.operations import Operation
from services.chassis.prices import Price, Row, rates_of
from services.chassis.unit_prices import UnitRates
from services.executor.attempts import messages
from services.executor.attempts.model import AttemptState, Candidate
from services.executor.engines.base import Engine
from services.executor.engines.outcomes import ErrorClass
from services.executor.engines.usage import Usage
from tests.executor.attempts.stage import (
    ANSWER,
    Script,
    Scripts,
    fails,
    stage,
    streamed,
)


async def test_a_partial_stream_never_costs_more_than_its_bound() -> None:
    engine = Script([streamed("x" * 10_000), *fails(ErrorClass.CUT, billed=True)])
    played = stage({"a": engine}, "a", stream=True)

    with pytest.raises(errors.Unavailable):
        await played.play()

    [attempt] = played.events.made
    # Of a bound nobody knows what is input and what output.
    assert (900, None) == (attempt.cost_nano_usd, attempt.cost_parts)


async def test_the_parts_of_a_whole_answers_cost_are_known() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}}
    played = stage({"a": Script([{**ANSWER, "usage": usage}])}, "a")

    await played.play()

    [attempt] = played.events.made
    # The deployment has no rate of its own for cached tokens.
    assert Cost(input=6, cached=4, output=20, fees=0) == attempt.cost_parts
    assert 30 == attempt.cost_nano_usd
    sent = messages.attempt(attempt).cost_parts
    assert (6, 4, 20, 0) == (
        sent.input_nano_usd,
        sent.cached_nano_usd,
        sent.output_nano_usd,
        sent.fees_nano_usd,
    )


async def test_no_more_attempts_are_billed_than_were_reserved() -> None:
    broken = Script(fails(ErrorClass.SERVER_ERROR, billed=True))
    rejecting = Script(fails(ErrorClass.SERVER_ERROR))
    good = Script([ANSWER])

    cut_off = stage({"a": broken, "b": good}, "a", "b", max_billed_attempts=1)
    with pytest.raises(errors.Fault):
        await cut_off.play()
    assert ["r/1"] == [attempt.id for attempt in cut_off.events.made]

    # What a provider rejected cost nothing, so it counts for nothing.
    free = stage({"a": rejecting, "b": good}, "a", "b", max_billed_attempts=1)
    assert [ANSWER["id"]] == [answer["id"] for answer in await free.play()]

    reserved = stage({"a": broken, "b": good}, "a", "b", max_billed_attempts=2)
    assert [ANSWER["id"]] == [answer["id"] for answer in await reserved.play()]


async def test_tokens_that_no_provider_reported_are_counted_and_marked() -> None:
    silent = {name: value for name, value in ANSWER.items() if name != "usage"}
    played = stage({"a": Script([silent])}, "a")

    await played.play()

    [attempt] = played.events.made
    assert (attempt.state, attempt.estimated, attempt.usage) == (AttemptState.FINAL, True, Usage(7, 5))


class Reasoner(Scripts):
    """Every model reasons."""

    def find(self, ident: str) -> tuple[Deployment, Engine] | None:
        found = super().find(ident)
        return found and (replace(found[0], capabilities=frozenset(("reasoning",))), found[1])


@pytest.mark.parametrize(
    ("delta", "cost"), [({"content": "x"}, 900), ({"reasoning_content": "hm", "content": "x"}, 7 + 3 * 4)]
)
async def test_reasoning_that_is_never_shown_may_cost_as_much_as_was_reserved(
    delta: dict[str, str], cost: int
) -> None:
    line = {**streamed(), "choices": [{"index": 0, "delta": delta}]}
    engine = Script([line, *fails(ErrorClass.CUT, billed=True)])
    played = stage({"a": engine}, "a", stream=True, known=Reasoner)

    with pytest.raises(errors.Unavailable):
        await played.play()

    assert cost == played.events.made[0].cost_nano_usd


async def test_of_a_cut_stream_what_was_seen_is_a_floor_of_the_last_reported_count() -> None:
    reported = {"prompt_tokens": 10, "completion_tokens": 2}
    lines = [streamed("hello"), streamed(usage=reported), *fails(ErrorClass.CUT, billed=True)]
    played = stage({"a": Script(lines)}, "a", stream=True)

    with pytest.raises(errors.Unavailable):
        await played.play()

    [attempt] = played.events.made
    # The prompt as reported; five tokens were seen, two of them reported.
    assert (AttemptState.PARTIAL, Usage(10, 5)) == (attempt.state, attempt.usage)
    assert 10 * 1 + 5 * 4 == attempt.cost_nano_usd


class ByPiece(Scripts):
    """Pictures and speech are billed by the piece and the character, tokens are not."""

    def find(self, ident: str) -> tuple[Deployment, Engine] | None:
        found = super().find(ident)
        price = Price((Row("", 0, rates_of({})),), units=UnitRates(image=40, character=15 * 10**6))
        return found and (replace(found[0], price=price), found[1])


PARTIAL_PICTURE = {"type": "image_generation.partial_image", "b64_json": "AA=="}
PICTURE = {
    "type": "image_generation.completed",
    "b64_json": "AA==",
    "usage": {"input_tokens": 3, "output_tokens": 50, "total_tokens": 53},
}
SOUND = {"type": "speech.audio.delta", "audio": "AA=="}
SPOKEN = {"type": "speech.audio.done", "usage": {"input_tokens": 3, "output_tokens": 50, "total_tokens": 53}}
REJECTED = {"type": "error", "code": "rate_limit_exceeded", "message": "no more"}
MEDIA = pytest.mark.parametrize(
    ("operation", "part", "last"),
    [
        (Operation.IMAGE_GENERATION, PARTIAL_PICTURE, PICTURE),
        (Operation.AUDIO_SPEECH, SOUND, SPOKEN),
    ],
)


@MEDIA
async def test_media_billed_by_the_piece_that_break_after_their_last_event_cost_their_bound(
    operation: Operation, part: dict[str, Any], last: dict[str, Any]
) -> None:
    engine = Script([part, last, *fails(ErrorClass.CUT, billed=True)])
    played = stage({"a": engine}, "a", stream=True, known=ByPiece, operation=operation, input="a b")

    with pytest.raises(errors.Unavailable):
        await played.play()

    [attempt] = played.events.made
    assert (AttemptState.PARTIAL, 900) == (attempt.state, attempt.cost_nano_usd)


@MEDIA
async def test_media_billed_by_the_token_that_break_after_their_last_event_cost_what_was_reported(
    operation: Operation, part: dict[str, Any], last: dict[str, Any]
) -> None:
    engine = Script([part, last, *fails(ErrorClass.CUT, billed=True)])
    played = stage({"a": engine}, "a", stream=True, operation=operation, input="a b")

    with pytest.raises(errors.Unavailable):
        await played.play()

    [attempt] = played.events.made
    assert (AttemptState.PARTIAL, 3 * 1 + 50 * 4) == (attempt.state, attempt.cost_nano_usd)


@MEDIA
@pytest.mark.parametrize("known", [Scripts, ByPiece])
async def test_media_of_which_a_part_came_before_an_error_cost_their_bound(
    operation: Operation, part: dict[str, Any], last: dict[str, Any], known: type[Scripts]
) -> None:
    del last
    played = stage(
        {"a": Script([part, REJECTED])}, "a", stream=True, known=known, operation=operation, input="a b"
    )

    with pytest.raises(errors.Exhausted):
        await played.play()

    [attempt] = played.events.made
    assert (AttemptState.PARTIAL, 900) == (attempt.state, attempt.cost_nano_usd)


@MEDIA
async def test_media_of_which_nothing_came_before_an_error_cost_nothing(
    operation: Operation, part: dict[str, Any], last: dict[str, Any]
) -> None:
    del part, last
    played = stage({"a": Script([REJECTED])}, "a", stream=True, operation=operation, input="a b")

    with pytest.raises(errors.Exhausted):
        await played.play()

    [attempt] = played.events.made
    assert (AttemptState.FAILED, 0) == (attempt.state, attempt.cost_nano_usd)


async def test_a_call_that_never_reached_its_provider_costs_nothing() -> None:
    played = stage({"a": Script(fails(ErrorClass.CONNECTION))}, "a")

    with pytest.raises(errors.Unavailable):
        await played.play()

    [attempt] = played.events.made
    assert (AttemptState.FAILED, 0, Usage()) == (attempt.state, attempt.cost_nano_usd, attempt.usage)


async def test_without_a_bound_a_lost_answer_costs_what_its_prompt_does() -> None:
    lost = Script(fails(ErrorClass.TIMEOUT, billed=True))
    played = stage({"a": lost}, Candidate("a"))

    with pytest.raises(errors.TimedOut):
        await played.play()

    assert 7 == played.events.made[0].cost_nano_usd


async def test_a_report_adds_up_all_attempts_the_broken_ones_too() -> None:
    broken = Script(fails(ErrorClass.SERVER_ERROR, billed=True))
    played = stage({"a": broken, "b": Script([ANSWER])}, "a", "b")

    await played.play()

    report = played.run.report
    assert report.attempts == played.events.made == played.gate.released
    assert Usage(7 + 10, 0 + 5) == report.usage
    assert 900 + 30 == report.cost_nano_usd
