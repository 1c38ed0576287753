"""Each request that calls a model has one record, however it ends; and the pipeline does what it does without one."""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from services.chassis import errors, telemetry
from services.gateway.config.plans import Plan
from services.gateway.recording.record import Content, Record
from services.gateway.recording.recorder import RecordingPipeline
from services.gateway.requests.hints import Hints
from tests.gateway.money import caller
from tests.gateway.pipeline.test_pipeline import (
    CHAT,
    FINISH,
    REPORT,
    WORD,
    Setup,
    Step,
    fault,
    leave,
    pending,
)


class Kept:
    """Keeps the records."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def add(self, record: Record) -> None:
        self.records.append(record)

    @property
    def files(self) -> list[dict[str, Any]]:
        """What would be written."""
        return [json.loads(one.written(Content.FULL)) for one in self.records]


@pytest.fixture
def kept() -> Kept:
    telemetry.request_id.set("r1")
    return Kept()


def recorded(kept: Kept, *steps: Step, **more: Any) -> Setup:
    return Setup(*steps, conducting=partial(RecordingPipeline, [kept]), **more)


async def test_a_whole_answer_is_recorded_with_what_it_took(kept: Kept) -> None:
    setup = recorded(kept, '{"choices":[]}', REPORT)
    answer = await setup.pipeline.complete(caller(), CHAT)

    (file,) = kept.files
    assert json.loads(answer.body) == file["response"]
    assert "What is 17 times 23?" == file["request"]["messages"][0]["content"]
    assert ("r1", "small@openai", 7, None) == (
        file["request_id"],
        file["answered_by"],
        file["cost_nano_usd"],
        file["error"],
    )


async def test_a_stream_is_recorded_once_it_has_ended(kept: Kept) -> None:
    setup, sent = recorded(kept, WORD, FINISH, REPORT), list[str]()
    await setup.read(sent)

    assert WORD == sent[0]
    assert 2 == len(sent)
    (file,) = kept.files
    assert ({"0.content": "391"}, 7) == (file["response"]["texts"], file["cost_nano_usd"])


@pytest.mark.parametrize("read", [0, 1])
async def test_a_stream_that_is_closed_early_is_recorded_and_its_reservation_ends(
    kept: Kept, read: int
) -> None:
    setup = recorded(kept, WORD, FINISH, REPORT)
    stream = await setup.pipeline.stream(caller(), CHAT)
    for _ in range(read):
        await anext(stream.chunks)
    await stream.chunks.aclose()

    assert [None] == setup.limits.ends
    assert setup.executor.closed
    assert ["CALLER_LEFT"] == [file["error"]["reason"] for file in kept.files]


@pytest.mark.parametrize("steps", [[fault()], [WORD, fault()]])
async def test_a_failure_is_recorded_with_its_reason(kept: Kept, steps: Sequence[Step]) -> None:
    setup = recorded(kept, *steps)
    with pytest.raises(errors.Unavailable):
        await setup.read([])

    assert ["every provider failed"] == [file["error"]["message"] for file in kept.files]


async def test_a_refusal_is_recorded(kept: Kept) -> None:
    setup = recorded(kept, refusal=errors.Exhausted("no budget left"))
    with pytest.raises(errors.Exhausted):
        await setup.pipeline.complete(caller(), CHAT)

    assert ["no budget left"] == [file["error"]["message"] for file in kept.files]


async def test_a_caller_who_does_not_wait_is_recorded(kept: Kept) -> None:
    setup = recorded(kept, pending())
    await leave(setup, setup.pipeline.complete(caller(), CHAT))

    assert ["CALLER_LEFT"] == [file["error"]["reason"] for file in kept.files]


@pytest.mark.parametrize(
    ("key", "hints", "may"),
    [
        ({}, {}, True),
        ({"plan": Plan("closed")}, {}, False),
        ({"store_prompts": False}, {}, False),
        ({"models": ("small",)}, {}, False),
        ({}, {"provider": "openai"}, False),
        ({}, {"denied_providers": ["deepseek"]}, False),
        ({}, {"denied_regions": ["us"]}, False),
    ],
)
async def test_a_prompt_may_be_evaluated_where_the_plan_says_so_and_nobody_chose_its_readers(
    kept: Kept, key: dict[str, Any], hints: dict[str, Any], may: bool
) -> None:
    setup = recorded(kept, '{"choices":[]}', REPORT)
    who = replace(caller(), **({"plan": Plan("open", evaluate_prompts=True)} | key))
    await setup.pipeline.complete(who, replace(CHAT, hints=Hints(**hints)))

    assert [may] == [one.may_evaluate for one in kept.records]
