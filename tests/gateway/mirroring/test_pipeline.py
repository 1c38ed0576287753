"""A mirrored request costs its caller nothing: no time, no failure, no money; and what is too much is dropped."""

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from lumni.executor.v1 import executor_pb2
from prometheus_client import REGISTRY

from services.chassis import errors, telemetry
from services.gateway.config.live import Live
from services.gateway.experiments.definition import Variant
from services.gateway.mirroring import mirrors as mirroring
from services.gateway.mirroring import pieces
from services.gateway.mirroring.comparison import Compared
from services.gateway.mirroring.definition import Judging, Mirror
from services.gateway.mirroring.mirrors import Mirrors
from services.gateway.mirroring.pipeline import MirroringPipeline
from services.gateway.mirroring.store import MirrorStore, Pair
from services.gateway.mirroring.target import Answered, Target
from services.gateway.pipeline.added_prompts import SystemPromptRules
from services.gateway.prompts.system_prompts import SystemPrompts
from services.gateway.requests import chat_request, messages_request
from services.gateway.requests.model_request import ModelRequest
from tests.gateway.conftest import eventually
from tests.gateway.money import caller
from tests.gateway.pipeline.test_pipeline import (
    CHAT,
    FINISH,
    REPORT,
    WORD,
    Setup,
    Step,
    fault,
    pending,
)

ANSWER = '{"choices":[{"index":0,"message":{"content":"391"},"finish_reason":"stop"}]}'
ALL = Mirror("new", 1.0, Variant("target", model="small"), 1_000_000_000)


@pytest.fixture(autouse=True)
def _request() -> None:
    telemetry.request_id.set("r1")


class Kept(MirrorStore):
    """Keeps comparisons in memory."""

    def __init__(self) -> None:
        self.pairs: list[Pair] = []

    async def add(self, pair: Pair) -> None:
        self.pairs.append(pair)


class Mirrored:
    """A pipeline of callers, and the target of a mirror behind it, each with an executor of its own."""

    def __init__(
        self, own: Sequence[Step], target: Sequence[Step], mirror: Mirror = ALL, **more: Any
    ) -> None:
        self.behind = Setup(*target, **more)
        self.kept = Kept()
        asks = Target(
            decider=self.behind.decider,
            executor=self.behind.executor,
            limits=self.behind.limits,
            decisions=self.behind.decisions,
            rules=Live(SystemPromptRules(SystemPrompts())),
        )
        self.configured = Live[Mapping[str, Mirror]]({mirror.name: mirror})
        self.mirrors = Mirrors(self.configured, asks, self.kept)
        self.front = Setup(*own, conducting=partial(MirroringPipeline, self.mirrors, ()))

    @asynccontextmanager
    async def compared(self, outcome: str) -> AsyncIterator[None]:
        """The block asks once; afterwards what became of the mirrored request is awaited."""
        before = count(outcome)
        async with self.mirrors.mirroring():
            yield
            await eventually(partial(_is_more, outcome, before))


async def _is_more(outcome: str, before: float) -> bool:
    return count(outcome) > before


def count(outcome: str) -> float:
    labels = {"mirror": "new", "outcome": outcome}
    return REGISTRY.get_sample_value("lumni_gateway_mirrored_requests_total", labels) or 0.0


async def test_both_sides_of_a_request_are_compared_and_the_mirror_pays_for_its_own() -> None:
    one = Mirrored([ANSWER, REPORT], [ANSWER, REPORT])
    async with one.compared("compared"):
        answer = await one.front.pipeline.complete(caller(), CHAT)

    (pair,) = one.kept.pairs
    assert ("391", 1.0) == (pair.target.said and pair.target.said.text, pair.compared.similarity)
    assert "r1" == answer.decision.request_id == pair.of_request_id != pair.request_id
    assert [REPORT] == one.front.limits.ends == one.behind.limits.ends
    (decided,) = one.behind.decisions.events
    context = decided.context
    assert ("mirror:new", "", "") == (context.key_id, context.user_id, context.organization_id)
    assert {"mirrored": pair.of_request_id} == dict(context.metadata)


async def test_a_stream_is_mirrored_as_a_stream() -> None:
    one = Mirrored([WORD, FINISH, REPORT], [WORD, FINISH, REPORT])
    chat = chat_request.parse(b'{"stream": true, "messages": [{"role": "user", "content": "Hi"}]}')
    sent: list[str] = []
    async with one.compared("compared"):
        await one.front.read(sent, chat)

    (pair,) = one.kept.pairs
    assert [("391", "stop")] * 2 == [
        (side.said.text, side.said.finish) for side in (pair.own, pair.target) if side.said
    ]


async def test_a_caller_waits_for_no_target_that_never_answers() -> None:
    one = Mirrored([ANSWER, REPORT], [pending()])
    async with one.mirrors.mirroring():
        await one.front.pipeline.complete(caller(), CHAT)
        await one.behind.executor.reached.wait()

    assert [] == one.kept.pairs
    # The process stopped in the middle: the ledger learns what the attempt cost.
    assert [None] == one.behind.limits.ends


async def test_a_target_that_fails_is_a_comparison_and_no_failure_of_the_caller() -> None:
    one = Mirrored([ANSWER, REPORT], [fault(REPORT)])
    async with one.compared("compared"):
        await one.front.pipeline.complete(caller(), CHAT)

    (pair,) = one.kept.pairs
    assert ("", "SERVICE_UNAVAILABLE") == (pair.own.failure, pair.target.failure)
    assert (7, None) == (pair.target.cost_nano_usd, pair.target.said)


async def test_a_request_that_failed_at_its_providers_is_mirrored_and_one_that_was_refused_is_not() -> None:
    failed, refused = Mirrored([fault(REPORT)], [ANSWER, REPORT]), Mirrored([], [])
    async with failed.compared("compared"):
        with pytest.raises(errors.Unavailable):
            await failed.front.pipeline.complete(caller(), CHAT)
    assert "SERVICE_UNAVAILABLE" == failed.kept.pairs[0].own.failure

    refused.front = Setup(
        conducting=partial(MirroringPipeline, refused.mirrors, ()), refusal=errors.Exhausted("no budget left")
    )
    with pytest.raises(errors.Exhausted):
        await refused.front.pipeline.complete(caller(), CHAT)
    assert 0 == refused.behind.executor.calls


async def test_without_money_of_its_own_a_mirror_asks_nobody() -> None:
    one = Mirrored([ANSWER, REPORT], [ANSWER, REPORT], refusal=errors.Exhausted("spent"))
    async with one.compared("refused"):
        await one.front.pipeline.complete(caller(), CHAT)

    assert ([], 0) == (one.kept.pairs, one.behind.executor.calls)


async def test_what_finds_no_place_in_the_queue_is_dropped_and_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mirroring, "MOST_WAITING", 1)
    one = Mirrored([ANSWER, REPORT], [])
    before = count("dropped")
    for _ in range(3):
        one.front = Setup(ANSWER, REPORT, conducting=partial(MirroringPipeline, one.mirrors, ()))
        await one.front.pipeline.complete(caller(), CHAT)
    assert 2 == count("dropped") - before
    # What still waits when the process stops is dropped, too.
    async with one.mirrors.mirroring():
        pass
    assert 3 == count("dropped") - before


@pytest.mark.parametrize(
    "mirror",
    [
        Mirror("new", 0.0, ALL.target, 1),
        Mirror("new", 1.0, ALL.target, 1, plans=("another",)),
        Mirror("new", 1.0, ALL.target, 1, keys=("another",)),
    ],
)
async def test_a_mirror_takes_no_more_than_it_says(mirror: Mirror) -> None:
    one = Mirrored([ANSWER, REPORT], [], mirror)
    await one.front.pipeline.complete(caller(), CHAT)

    assert () == tuple(one.mirrors.drawn(caller(), CHAT))


async def test_pictures_and_searches_are_not_mirrored_and_a_change_counts_from_the_next_request() -> None:
    one = Mirrored([], [])
    picture = b'{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a/b"}}]}]}'
    assert not one.mirrors.drawn(caller(), chat_request.parse(picture))
    assert one.mirrors.drawn(caller(), CHAT)
    one.configured.replace({})
    assert not one.mirrors.drawn(caller(), CHAT)


async def test_what_an_evaluation_asks_goes_to_no_target() -> None:
    one = Mirrored([ANSWER, REPORT], [])
    evaluation = replace(caller(), user_id="lumni-evaluate", store_prompts=False)
    assert one.mirrors.drawn(caller(), CHAT)
    await one.front.pipeline.complete(evaluation, CHAT)
    assert not one.mirrors.drawn(evaluation, CHAT)


async def test_a_judge_grades_both_answers_on_the_mirrors_budget() -> None:
    mirror = Mirror("new", 1.0, ALL.target, 1, judge=Judging("large", 1.0))
    graded = '{"choices":[{"index":0,"message":{"content":"Right.\\nGrade: 5"},"finish_reason":"stop"}]}'
    one = Mirrored([ANSWER, REPORT], [graded, executor_pb2.Report()], mirror)
    async with one.compared("compared"):
        await one.front.pipeline.complete(caller(), CHAT)

    (pair,) = one.kept.pairs
    assert (5, 5) == (pair.grades.own, pair.grades.target)
    assert 3 == one.behind.executor.calls == len(one.behind.limits.ends)
    assert {"mirror:new"} == {decided.context.key_id for decided in one.behind.decisions.events}


async def test_a_caller_who_leaves_a_stream_leaves_nothing_to_compare() -> None:
    one = Mirrored([WORD, FINISH, REPORT], [])
    stream = await one.front.pipeline.stream(caller(), CHAT)
    await anext(stream.chunks)
    await stream.chunks.aclose()
    await asyncio.sleep(0)

    assert (0, [None]) == (one.behind.executor.calls, one.front.limits.ends)


async def test_a_targets_answer_without_end_is_read_up_to_its_bill_and_not_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pieces, "LONGEST_ANSWER", 100 * len(WORD))
    one = Mirrored([WORD, FINISH, REPORT], [*[WORD] * 500, FINISH, REPORT])
    kept: list[Answered] = []
    ask = one.mirrors._target.ask

    async def asked(*args: Any) -> Answered:
        kept.append(await ask(*args))
        return kept[-1]

    monkeypatch.setattr(one.mirrors._target, "ask", asked)
    chat = chat_request.parse(b'{"stream": true, "messages": [{"role": "user", "content": "Hi"}]}')
    async with one.compared("compared"):
        await one.front.read([], chat)

    (pair,) = one.kept.pairs
    assert [WORD] * 101 == kept[0].pieces
    assert ("", None, 7) == (pair.target.failure, pair.target.said, pair.target.cost_nano_usd)
    assert (None, [REPORT]) == (pair.compared.similarity, one.behind.limits.ends)


async def test_answers_are_compared_beside_the_loop_that_serves_callers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads: list[threading.Thread] = []

    def compare(*sides: Any) -> Compared:
        threads.append(threading.current_thread())
        return Compared()

    monkeypatch.setattr(mirroring, "compare", compare)
    one = Mirrored([ANSWER, REPORT], [ANSWER, REPORT])
    async with one.compared("compared"):
        await one.front.pipeline.complete(caller(), CHAT)

    assert 1 == len(threads)
    assert threading.current_thread() not in threads


@pytest.mark.parametrize(
    ("asked", "is_drawn"),
    [
        (CHAT, True),
        (chat_request.parse(b'{"messages": [{"role": "user", "content": "Hi"}], "temperature": 1}'), True),
        (chat_request.parse(b'{"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9}'), False),
        (
            chat_request.parse(
                b'{"messages": [{"role": "user", "content": "Hi"}], "max_completion_tokens": 9}'
            ),
            False,
        ),
        (
            messages_request.parse(
                b'{"model": "small", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}'
            ),
            False,
        ),
    ],
)
def test_parameters_of_a_target_are_of_chats_that_leave_them_open(
    asked: ModelRequest, is_drawn: bool
) -> None:
    capped = Mirror("new", 1.0, Variant("target", parameters={"max_completion_tokens": 500}), 1)
    one = Mirrored([], [], capped)

    assert is_drawn is bool(one.mirrors.drawn(caller(), asked))
    one.configured.replace({"new": ALL})
    assert one.mirrors.drawn(caller(), asked)
