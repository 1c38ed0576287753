"""What fails before a request is sent costs nothing and is not held against the deployment."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from services.chassis import errors
from services.executor.attempts.model import AttemptState
from services.executor.attempts.retry import RULES
from services.executor.engines.base import Call, Phase, Piece
from services.executor.engines.outcomes import ErrorClass, Failed
from services.executor.engines.usage import Usage
from tests.executor.attempts.stage import ANSWER, Script, stage


class Breaks:
    """An engine that comes so far, and then raises, or stays silent for ever."""

    name = "breaks"

    def __init__(self, phase: Phase, error: Exception | None) -> None:
        self._phase = phase
        self._error = error
        self.calls = 0

    async def call(self, call: Call) -> AsyncGenerator[Piece]:
        self.calls += 1
        call.progress.phase = self._phase
        if self._error is not None:
            raise self._error
        await asyncio.Event().wait()
        yield Piece({})

    def estimate(self, call: Call, text: str) -> Usage:
        return Usage(prompt_tokens=7, completion_tokens=len(text))


@pytest.mark.parametrize("phase", [Phase.PREPARING, Phase.CONNECTING])
@pytest.mark.parametrize(
    "error",
    [ValueError("Invalid IPv6 URL"), UnicodeError("label too long"), RecursionError(), KeyError("url")],
    ids=repr,
)
async def test_an_exception_before_the_request_is_sent_is_our_mistake(phase: Phase, error: Exception) -> None:
    engine = Breaks(phase, error)
    played = stage({"a": engine}, "a", retries=3)

    with pytest.raises(errors.Internal):
        await played.play()

    [attempt] = played.events.made
    assert (attempt.state, attempt.cost_nano_usd) == (AttemptState.FAILED, 0)
    assert 1 == engine.calls
    assert not RULES[ErrorClass.INTERNAL].trips


async def test_another_provider_may_still_answer() -> None:
    played = stage({"a": Breaks(Phase.PREPARING, ValueError()), "b": Script([ANSWER])}, "a", "b")

    [answer] = await played.play()

    assert "hello" == answer["choices"][0]["message"]["content"]
    assert 5 * 4 + 10 == sum(attempt.cost_nano_usd for attempt in played.events.made)


async def test_an_exception_after_the_request_was_sent_is_paid_for() -> None:
    played = stage({"a": Breaks(Phase.SENT, RuntimeError())}, "a")

    with pytest.raises(errors.Unavailable, match="another shape"):
        await played.play()

    [attempt] = played.events.made
    assert (attempt.state, attempt.cost_nano_usd) == (AttemptState.PARTIAL, 900)


async def test_no_engine_can_bill_what_it_has_not_sent() -> None:
    lied = Failed(ErrorClass.SERVER_ERROR, "it was", billed=True)
    played = stage({"a": Breaks(Phase.CONNECTING, lied)}, "a")

    with pytest.raises(errors.Unavailable):
        await played.play()

    assert AttemptState.FAILED is played.events.made[0].state


@pytest.mark.parametrize(("phase", "cost"), [(Phase.PREPARING, 0), (Phase.CONNECTING, 0), (Phase.SENT, 900)])
async def test_a_caller_that_disconnects_pays_only_for_what_was_sent(phase: Phase, cost: int) -> None:
    engine = Breaks(phase, None)
    played = stage({"a": engine}, "a")

    await played.leave(lambda: engine.calls)

    assert cost == played.events.made[0].cost_nano_usd


async def test_a_deadline_that_passes_before_the_request_is_sent_costs_nothing() -> None:
    played = stage({"a": Breaks(Phase.PREPARING, None)}, "a", deadline_s=0.02)

    with pytest.raises(errors.TimedOut):
        await played.play()

    assert 0 == played.events.made[0].cost_nano_usd


async def test_a_picture_that_never_comes_is_not_the_providers_silence() -> None:
    engine = Breaks(Phase.PREPARING, None)
    played = stage({"a": engine}, "a", timeout_s=0.02, retries=3)

    with pytest.raises(errors.Invalid, match="pictures did not come") as caught:
        await played.play()

    assert "messages" == caught.value.param
    assert 1 == engine.calls
    assert ErrorClass.BAD_REQUEST is played.events.made[0].error


async def test_a_retry_knows_nothing_of_what_the_try_before_it_sent() -> None:
    script = Script([Failed(ErrorClass.SERVER_ERROR, "it was", billed=True)])
    unsent: list[Phase] = []

    class Second(Script):
        async def call(self, call: Call) -> AsyncGenerator[Piece]:
            unsent.append(call.progress.phase)
            async for piece in script.call(call):
                yield piece

    played = stage({"a": Second([])}, "a", retries=1)

    with pytest.raises(errors.Unavailable):
        await played.play()

    assert [Phase.PREPARING, Phase.PREPARING] == unsent
