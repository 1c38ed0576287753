"""Decisions that wait for a version of the classifier that is not served, and those that do not."""

import asyncio
from collections.abc import Callable
from typing import cast

import pytest
from lumni.chat.v1 import chat_pb2
from lumni.classifier.v1 import classifier_pb2
from lumni.events.v1 import events_pb2

from services.chassis import errors
from services.gateway.peers import shadows
from services.gateway.peers.clients import Classifier
from services.gateway.peers.decisions import DecisionPublisher
from services.gateway.peers.shadows import MISSED, Shadows
from tests.gateway.conftest import eventually

JUDGED = classifier_pb2.Classification(
    tier=classifier_pb2.TIER_POWERFUL,
    category=classifier_pb2.CATEGORY_CODE,
    strong_win_rate=0.9,
    language="en",
    long_context=True,
    version="mine",
)


class Judging:
    """A classifier whose shadow answers when it may."""

    def __init__(self, fault: errors.Fault | None = None) -> None:
        self.may_answer = asyncio.Event()
        self.asked: list[tuple[str, int]] = []
        self._fault = fault

    async def shadow(
        self, request: classifier_pb2.ClassifyRequest, served: "classifier_pb2.Tier.ValueType"
    ) -> classifier_pb2.Classification:
        self.asked.append((request.context.request_id, served))
        await self.may_answer.wait()
        if self._fault is not None:
            raise self._fault
        answer = classifier_pb2.Classification(factors=[classifier_pb2.Factor(name="words")], features=[1.0])
        answer.MergeFrom(JUDGED)
        return answer


class Published(list[events_pb2.DecisionEvent]):
    """What was published."""

    publish = list.append


def made(judging: Judging) -> tuple[Shadows, Published]:
    published = Published()
    return Shadows(cast("Classifier", judging), cast("DecisionPublisher", published)), published


def event(request_id: str = "r") -> events_pb2.DecisionEvent:
    return events_pb2.DecisionEvent(
        context=chat_pb2.RequestContext(request_id=request_id),
        classification=classifier_pb2.Classification(tier=classifier_pb2.TIER_FAST, version="v1"),
    )


def asked(request_id: str = "r") -> classifier_pb2.ClassifyRequest:
    return classifier_pb2.ClassifyRequest(context=chat_pb2.RequestContext(request_id=request_id))


async def until(condition: Callable[[], bool]) -> None:
    async def holds() -> bool:
        return condition()

    await eventually(holds)


def missed() -> float:
    return float(MISSED._value.get())


async def test_a_decision_waits_for_the_shadow_and_keeps_what_decides_about_a_selection_alone() -> None:
    before, judging = missed(), Judging()
    waiting, published = made(judging)
    async with waiting.judging():
        waiting.publish(event(), asked())
        await until(lambda: bool(judging.asked))
        early = list(published)
        judging.may_answer.set()
        await until(lambda: bool(published))

    assert [] == early
    [decision] = published
    assert ("v1", JUDGED) == (decision.classification.version, decision.asked.shadow)
    assert [("r", classifier_pb2.TIER_FAST)] == judging.asked
    assert before == missed()


@pytest.mark.parametrize("fault", [errors.Exhausted("busy"), errors.Unavailable("gone")])
async def test_a_decision_without_the_shadow_is_published_all_the_same_and_counted(
    fault: errors.Fault,
) -> None:
    before, judging = missed(), Judging(fault)
    judging.may_answer.set()
    waiting, published = made(judging)
    async with waiting.judging():
        waiting.publish(event(), asked())
        await until(lambda: bool(published))

    assert [False] == [one.asked.HasField("shadow") for one in published]
    assert before + 1 == missed()


async def test_what_is_under_way_at_the_end_is_published_as_it_is() -> None:
    before, judging = missed(), Judging()
    waiting, published = made(judging)
    async with waiting.judging():
        waiting.publish(event(), asked())
        await until(lambda: bool(judging.asked))

    assert ["r"] == [one.context.request_id for one in published]
    assert before + 1 == missed()


async def test_what_comes_just_before_the_end_or_after_it_is_published_as_it_is() -> None:
    before, judging = missed(), Judging()
    waiting, published = made(judging)
    async with waiting.judging():
        # Nothing of it has run when it is cancelled.
        waiting.publish(event("last"), asked("last"))
    waiting.publish(event("later"), asked("later"))

    assert ["last", "later"] == [one.context.request_id for one in published]
    assert [] == judging.asked
    assert before + 2 == missed()


async def test_no_more_texts_wait_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadows, "MOST_UNDER_WAY", 2)
    before, judging = missed(), Judging()
    waiting, published = made(judging)
    async with waiting.judging():
        for number in range(3):
            waiting.publish(event(f"r{number}"), asked(f"r{number}"))
        at_once = [one.context.request_id for one in published]
        judging.may_answer.set()
        await until(lambda: len(published) == 3)

    assert ["r2"] == at_once
    assert {"r0", "r1"} == {one.context.request_id for one in published if one.asked.HasField("shadow")}
    assert before + 1 == missed()
