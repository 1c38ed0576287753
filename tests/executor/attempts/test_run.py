"""Which candidates are called, how often, and what a caller gets when none answers."""

import time

import pytest

from services.chassis import errors
from services.chassis.candidates import OnlyOn
from services.executor.attempts.model import AttemptState, Candidate, Skip
from services.executor.attempts.retry import RULES
from services.executor.engines.outcomes import ErrorClass
from services.executor.engines.usage import Usage
from tests.executor.attempts.stage import (
    ANSWER,
    STREAM,
    Hang,
    OpenGate,
    Script,
    fails,
    stage,
)


async def test_the_first_candidate_that_answers_ends_the_run() -> None:
    first, second = Script([ANSWER]), Script([ANSWER])
    played = stage({"a": first, "b": second}, "a", "b")

    [answer] = await played.play()

    assert answer["model"] == "public"
    assert answer["choices"] == ANSWER["choices"]
    assert second.calls == []
    [attempt] = played.events.made
    assert (attempt.id, attempt.state) == ("r/1", AttemptState.FINAL)
    assert attempt.usage == Usage(10, 5)
    assert attempt.cost_nano_usd == 10 * 1 + 5 * 4
    assert played.events.begun == ["r/1"]


@pytest.mark.parametrize("error", [error for error in ErrorClass if error is not ErrorClass.CANCELLED])
async def test_the_table_decides_whether_a_failure_is_retried_and_falls_back(error: ErrorClass) -> None:
    rule = RULES[error]
    first, second = Script(fails(error)), Script([ANSWER])
    played = stage({"a": first, "b": second}, "a", "b", retries=2)

    if rule.fall_back:
        await played.play()
    else:
        with pytest.raises(rule.fault):
            await played.play()

    assert len(first.calls) == (3 if rule.retry else 1)
    assert len(second.calls) == (1 if rule.fall_back else 0)
    assert len(played.events.made) == len(first.calls) + len(second.calls)
    assert [attempt.id for attempt in played.events.made] == played.events.begun
    assert len(set(played.events.begun)) == len(played.events.begun)


async def test_a_retry_waits_as_long_as_the_provider_wants() -> None:
    first = Script(fails(ErrorClass.RATE_LIMIT, retry_after_s=0.04), [ANSWER])
    played = stage({"a": first}, "a", retries=2)
    began = time.monotonic()

    await played.play()

    assert time.monotonic() - began >= 0.04
    assert len(first.calls) == 2


async def test_no_call_waits_long_for_one_candidate_while_another_could_answer() -> None:
    first, second = Script(fails(ErrorClass.RATE_LIMIT, retry_after_s=30)), Script([ANSWER])
    played = stage({"a": first, "b": second}, "a", "b", retries=2)

    await played.play()

    assert (len(first.calls), len(second.calls)) == (1, 1)


async def test_a_wait_beyond_the_deadline_is_not_begun() -> None:
    played = stage({"a": Script(fails(ErrorClass.SERVER_ERROR))}, "a", retries=9, deadline_s=0.0005)

    with pytest.raises((errors.Unavailable, errors.TimedOut)):
        await played.play()

    assert len(played.events.made) == 1


async def test_candidates_for_context_errors_are_tried_only_then_and_first() -> None:
    long = Candidate("long", OnlyOn.CONTEXT)
    policy = Candidate("policy", OnlyOn.POLICY)
    a, b, c, d = (
        Script(fails(ErrorClass.CONTEXT_LENGTH)),
        Script([ANSWER]),
        Script([ANSWER]),
        Script([ANSWER]),
    )
    played = stage({"a": a, "b": b, "long": c, "policy": d}, "a", "b", policy, long)

    await played.play()

    assert [len(engine.calls) for engine in (a, b, c, d)] == [1, 0, 1, 0]
    other = stage({"a": Script(fails(ErrorClass.SERVER_ERROR)), "long": c}, "a", long)
    with pytest.raises(errors.Unavailable):
        await other.play()
    assert [skip.reason for skip in other.run.report.skips] == ["not_needed"]


async def test_candidates_for_policy_errors_are_tried_only_then() -> None:
    a, b = Script(fails(ErrorClass.CONTENT_POLICY)), Script([ANSWER])
    played = stage({"a": a, "b": b}, "a", Candidate("b", OnlyOn.POLICY))

    await played.play()

    assert len(b.calls) == 1


async def test_a_failure_before_the_first_chunk_is_invisible() -> None:
    a, b = Script(fails(ErrorClass.MALFORMED)), Script(STREAM)
    played = stage({"a": a, "b": b}, "a", "b", stream=True)

    chunks = await played.play()

    assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks) == "hello"
    assert [attempt.state for attempt in played.events.made] == [AttemptState.FAILED, AttemptState.FINAL]


async def test_an_empty_stream_falls_back() -> None:
    played = stage({"a": Script([]), "b": Script(STREAM)}, "a", "b", stream=True)

    assert len(await played.play()) == 3


async def test_a_silent_provider_is_left_in_time_for_the_next() -> None:
    silent = Script([Hang()])
    played = stage({"a": silent, "b": Script([ANSWER])}, "a", "b", timeout_s=0.2)

    await played.play()

    assert silent.closed == 1
    assert played.events.made[0].error is ErrorClass.TIMEOUT
    # It may have generated all of it, so the bound is what is sure.
    assert (played.events.made[0].state, played.events.made[0].cost_nano_usd) == (AttemptState.PARTIAL, 900)


async def test_the_total_deadline_ends_everything() -> None:
    played = stage({"a": Script([Hang()]), "b": Script([ANSWER])}, "a", "b", timeout_s=60, deadline_s=0.05)
    began = time.monotonic()

    with pytest.raises(errors.TimedOut):
        await played.play()

    assert time.monotonic() - began < 30
    assert played.events.made[0].error is ErrorClass.DEADLINE


async def test_skipped_candidates_are_reported_and_make_no_attempt() -> None:
    gate = OpenGate({"a": Skip("a", "breaker_open", 3.0), "b": Skip("b", "rate_limited", 9.0)})
    played = stage(
        {"a": Script([ANSWER]), "b": Script([ANSWER]), "keyless": Script([ANSWER])},
        "a",
        "b",
        "keyless",
        "gone",
        gate=gate,
    )

    with pytest.raises(errors.Unavailable) as caught:
        await played.play()

    assert [skip.reason for skip in played.run.report.skips] == [
        "breaker_open",
        "rate_limited",
        "no_key",
        "unknown",
    ]
    assert caught.value.retry_after_s == 3.0
    assert played.events.begun == []


async def test_a_fleet_at_its_limits_is_exhausted_not_down() -> None:
    gate = OpenGate({"a": Skip("a", "rate_limited", 9.0)})

    with pytest.raises(errors.Exhausted) as caught:
        await stage({"a": Script([ANSWER])}, "a", gate=gate).play()

    assert caught.value.retry_after_s == 9.0


async def test_the_fault_says_whether_trying_again_would_help() -> None:
    limited, down, wrong = ErrorClass.RATE_LIMIT, ErrorClass.SERVER_ERROR, ErrorClass.CONTEXT_LENGTH
    for classes, fault in [
        ([limited, limited], errors.Exhausted),
        ([limited, down], errors.Unavailable),
        ([down, wrong], errors.Unavailable),
        ([wrong, wrong], errors.Invalid),
        ([ErrorClass.TIMEOUT, limited], errors.TimedOut),
        # An error of the request as such is believed, whatever was down before.
        ([down, ErrorClass.BAD_REQUEST], errors.Invalid),
    ]:
        engines = {str(at): Script(fails(error)) for at, error in enumerate(classes)}
        with pytest.raises(errors.Fault) as caught:
            await stage(engines, *engines).play()
        assert type(caught.value) is fault
