"""What attempts cost, whole and broken."""

from dataclasses import replace

import pytest

from services.chassis import errors
from services.chassis.deployments import Deployment
from services.executor.attempts.model import AttemptState
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

    assert played.events.made[0].cost_nano_usd == 900


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
