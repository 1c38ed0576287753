"""The walk over candidates, with engines that follow a script."""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
import pytest

from services.chassis import errors
from services.chassis.deployments import Deployment
from services.executor.attempts.retry import RULES
from services.executor.attempts.run import Attempt, Candidate, Kind, OnlyOn, Patience, Skip, Walk, Work
from services.executor.engines.base import Call, Engine, Operation, Piece
from services.executor.engines.outcomes import ErrorClass, Failed
from services.executor.engines.usage import Usage
from tests.executor.fleet import deployment

ANSWER = {
    "id": "a1",
    "object": "chat.completion",
    "created": 1,
    "model": "theirs",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
}


def chunk(content: str | None = None, finish: str | None = None, usage: Any = None) -> dict[str, Any]:
    made: dict[str, Any] = {
        "id": "a1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "theirs",
        "choices": [{"index": 0, "delta": {"content": content} if content else {}, "finish_reason": finish}],
    }
    if usage:
        made |= {"choices": [], "usage": usage}
    return made


STREAM = [chunk("hel"), chunk("lo"), chunk(finish="stop"), chunk(usage=ANSWER["usage"])]


class Hang:
    """The provider says nothing."""


class Script:
    """An engine that plays its lines, one list for each call; the last one forever."""

    name = "script"

    def __init__(self, *calls: Sequence[Any]) -> None:
        self._calls = list(calls)
        self.calls: list[Call] = []
        self.closed = 0

    async def call(self, call: Call) -> AsyncGenerator[Piece]:
        self.calls.append(call)
        lines = self._calls.pop(0) if len(self._calls) > 1 else self._calls[0]
        try:
            for line in lines:
                if isinstance(line, Failed):
                    raise line
                if isinstance(line, Hang):
                    await asyncio.Event().wait()
                yield Piece(orjson.loads(orjson.dumps(line)))
        finally:
            self.closed += 1

    def estimate(self, call: Call, said: str) -> Usage:
        return Usage(prompt_tokens=7, completion_tokens=len(said))


@dataclass
class Leave:
    gate: "OpenGate"
    deployment: Deployment
    queue_ms: float = 0.0

    def release(self, attempt: Attempt, headers: Mapping[str, str], retry_after_s: float | None) -> None:
        self.gate.released.append(attempt)


@dataclass
class OpenGate:
    refused: dict[str, Skip] = field(default_factory=dict)
    released: list[Attempt] = field(default_factory=list)

    async def enter(self, deployment: Deployment, tokens: int, patience_s: float) -> Leave | Skip:
        return self.refused.get(deployment.id) or Leave(self, deployment)


class Notes:
    """Books that keep everything, or nothing."""

    def __init__(self, refusal: errors.Fault | None = None) -> None:
        self.refusal = refusal
        self.begun: list[str] = []
        self.made: list[Attempt] = []

    async def started(self, work: Work, attempt: Attempt) -> None:
        if self.refusal:
            raise self.refusal
        self.begun.append(attempt.id)

    def ended(self, work: Work, attempt: Attempt) -> None:
        self.made.append(attempt)


class Known:
    """A directory of scripts."""

    def __init__(self, engines: Mapping[str, Engine], retries: int = 0, timeout_s: float = 5) -> None:
        self._engines = engines
        self._retries = retries
        self._timeout_s = timeout_s

    def find(self, ident: str) -> tuple[Deployment, Engine] | None:
        engine = self._engines.get(ident)
        return (deployment("http://x", id=ident), engine) if engine else None

    def key(self, deployment: Deployment) -> str | None:
        if deployment.id == "keyless":
            raise LookupError
        return "sk-x"

    def retries(self, deployment: Deployment) -> int:
        return self._retries

    def timeout_s(self, deployment: Deployment, *, stream: bool) -> float:
        return self._timeout_s


SWIFT = Patience(first_s=0.001, longest_s=0.05, with_others_s=0.02, idle_s=5)


@dataclass
class Stage:
    walk: Walk
    books: Notes
    gate: OpenGate

    async def play(self) -> list[Any]:
        async with aclosing(self.walk.pieces()) as pieces:
            return [orjson.loads(piece) async for piece in pieces]


def stage(
    engines: Mapping[str, Engine],
    *candidates: Candidate | str,
    stream: bool = False,
    retries: int = 0,
    timeout_s: float = 5,
    deadline_s: float = 5,
    books: Notes | None = None,
    gate: OpenGate | None = None,
    patience: Patience = SWIFT,
    most_billed: int = 0,
    known: "type[Known] | None" = None,
    **body: Any,
) -> Stage:
    work = Work(
        request_id="r",
        operation=Operation.CHAT,
        body={"messages": [{"role": "user", "content": "hi"}], **body},
        stream=stream,
        candidates=[
            one if isinstance(one, Candidate) else Candidate(one, max_cost_nano_usd=900) for one in candidates
        ],
        deadline=time.monotonic() + deadline_s,
        most_billed=most_billed,
    )
    books, gate = books or Notes(), gate or OpenGate()
    directory = (known or Known)(engines, retries, timeout_s)
    return Stage(Walk(work, directory, gate, books, patience), books, gate)


def fails(error: ErrorClass, **more: Any) -> list[Failed]:
    return [Failed(error, f"it was {error}", **more)]


async def test_the_first_candidate_that_answers_ends_the_walk() -> None:
    first, second = Script([ANSWER]), Script([ANSWER])
    played = stage({"a": first, "b": second}, "a", "b")

    [answer] = await played.play()

    assert answer["model"] == "public"
    assert answer["choices"] == ANSWER["choices"]
    assert second.calls == []
    [attempt] = played.books.made
    assert (attempt.id, attempt.kind) == ("r/1", Kind.FINAL)
    assert attempt.usage == Usage(10, 5)
    assert attempt.cost_nano_usd == 10 * 1 + 5 * 4
    assert played.books.begun == ["r/1"]


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
    assert len(played.books.made) == len(first.calls) + len(second.calls)
    assert [attempt.id for attempt in played.books.made] == played.books.begun
    assert len(set(played.books.begun)) == len(played.books.begun)


async def test_a_retry_waits_as_long_as_the_provider_asked() -> None:
    first = Script(fails(ErrorClass.RATE_LIMIT, retry_after_s=0.04), [ANSWER])
    played = stage({"a": first}, "a", retries=2)
    began = time.monotonic()

    await played.play()

    assert time.monotonic() - began >= 0.04
    assert len(first.calls) == 2


async def test_nobody_waits_long_for_one_candidate_while_another_could_answer() -> None:
    first, second = Script(fails(ErrorClass.RATE_LIMIT, retry_after_s=30)), Script([ANSWER])
    played = stage({"a": first, "b": second}, "a", "b", retries=2)

    await played.play()

    assert (len(first.calls), len(second.calls)) == (1, 1)


async def test_a_wait_beyond_the_deadline_is_not_begun() -> None:
    played = stage({"a": Script(fails(ErrorClass.SERVER_ERROR))}, "a", retries=9, deadline_s=0.0005)

    with pytest.raises((errors.Unavailable, errors.TimedOut)):
        await played.play()

    assert len(played.books.made) == 1


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
    assert [skip.reason for skip in other.walk.report.skips] == ["not_needed"]


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
    assert [attempt.kind for attempt in played.books.made] == [Kind.FAILED, Kind.FINAL]


async def test_a_failure_after_the_first_chunk_is_told_and_never_repeated() -> None:
    a, b = Script([chunk("hel"), *fails(ErrorClass.SERVER_ERROR, billed=True)]), Script(STREAM)
    played = stage({"a": a, "b": b}, "a", "b", stream=True, retries=3)
    seen = []

    with pytest.raises(errors.Unavailable, match="it was server_error"):
        async with aclosing(played.walk.pieces()) as pieces:
            async for piece in pieces:
                seen.append(orjson.loads(piece))  # noqa: PERF401  (it is cut short)

    assert [c["choices"][0]["delta"]["content"] for c in seen] == ["hel"]
    assert b.calls == []
    [attempt] = played.books.made
    assert attempt.kind is Kind.PARTIAL
    assert attempt.usage == Usage(7, 3)
    assert attempt.estimated


async def test_a_stream_that_ends_without_its_end_is_no_answer() -> None:
    played = stage({"a": Script([chunk("hel")])}, "a", stream=True)

    with pytest.raises(errors.Unavailable) as caught:
        await played.play()

    assert caught.value.reason == "STREAM_CUT"


async def test_an_empty_stream_falls_back() -> None:
    played = stage({"a": Script([]), "b": Script(STREAM)}, "a", "b", stream=True)

    assert len(await played.play()) == 3


async def test_a_silent_provider_is_left_in_time_for_the_next() -> None:
    silent = Script([Hang()])
    played = stage({"a": silent, "b": Script([ANSWER])}, "a", "b", timeout_s=0.02)

    await played.play()

    assert silent.closed == 1
    assert played.books.made[0].error is ErrorClass.TIMEOUT
    # It may have generated all of it, so the bound is what is sure.
    assert (played.books.made[0].kind, played.books.made[0].cost_nano_usd) == (Kind.PARTIAL, 900)


async def test_the_total_deadline_ends_everything() -> None:
    played = stage({"a": Script([Hang()]), "b": Script([ANSWER])}, "a", "b", timeout_s=60, deadline_s=0.05)
    began = time.monotonic()

    with pytest.raises(errors.TimedOut):
        await played.play()

    assert time.monotonic() - began < 2
    assert played.books.made[0].error is ErrorClass.DEADLINE


async def test_a_silence_in_the_middle_of_a_stream_ends_it() -> None:
    played = stage(
        {"a": Script([chunk("hel"), Hang()])}, "a", stream=True, patience=Patience(idle_s=0.02), timeout_s=5
    )

    with pytest.raises(errors.Unavailable):
        await played.play()

    assert played.books.made[0].error is ErrorClass.CUT


@pytest.mark.parametrize("stream", [False, True])
async def test_a_caller_that_leaves_closes_the_call_and_leaves_a_record(stream: bool) -> None:
    engine = Script([chunk("hel"), Hang()] if stream else [Hang()])
    played = stage({"a": engine, "b": Script([ANSWER])}, "a", "b", stream=stream)
    playing = asyncio.create_task(played.play())
    while not engine.calls:
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)

    playing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await playing

    assert engine.closed == 1
    [attempt] = played.books.made
    assert (attempt.kind, attempt.error) == (Kind.PARTIAL, ErrorClass.CANCELLED)
    assert attempt.usage == Usage(7, 3 if stream else 0)
    assert attempt.cost_nano_usd == (7 + 3 * 4 if stream else 900)
    assert len(played.gate.released) == 1


async def test_a_partial_stream_never_costs_more_than_its_bound() -> None:
    engine = Script([chunk("x" * 10_000), *fails(ErrorClass.CUT, billed=True)])
    played = stage({"a": engine}, "a", stream=True)

    with pytest.raises(errors.Unavailable):
        await played.play()

    assert played.books.made[0].cost_nano_usd == 900


async def test_no_more_attempts_are_billed_than_were_reserved() -> None:
    broken = Script(fails(ErrorClass.SERVER_ERROR, billed=True))
    refusing = Script(fails(ErrorClass.SERVER_ERROR))
    good = Script([ANSWER])

    cut_off = stage({"a": broken, "b": good}, "a", "b", most_billed=1)
    with pytest.raises(errors.Fault):
        await cut_off.play()
    assert ["r/1"] == [attempt.id for attempt in cut_off.books.made]

    # What a provider refused cost nothing, so it counts for nothing.
    free = stage({"a": refusing, "b": good}, "a", "b", most_billed=1)
    assert [ANSWER["id"]] == [answer["id"] for answer in await free.play()]

    reserved = stage({"a": broken, "b": good}, "a", "b", most_billed=2)
    assert [ANSWER["id"]] == [answer["id"] for answer in await reserved.play()]


async def test_tokens_that_nobody_reported_are_counted_and_marked() -> None:
    silent = {name: value for name, value in ANSWER.items() if name != "usage"}
    played = stage({"a": Script([silent])}, "a")

    await played.play()

    [attempt] = played.books.made
    assert (attempt.kind, attempt.estimated, attempt.usage) == (Kind.FINAL, True, Usage(7, 5))


async def test_no_provider_is_called_when_its_call_cannot_be_recorded() -> None:
    engine = Script([ANSWER])
    played = stage(
        {"a": engine}, "a", books=Notes(errors.Unavailable("no ledger", reason="LEDGER_UNAVAILABLE"))
    )

    with pytest.raises(errors.Unavailable, match="no ledger"):
        await played.play()

    assert engine.calls == []
    assert played.books.made == []
    assert len(played.gate.released) == 1


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

    assert [skip.reason for skip in played.walk.report.skips] == [
        "breaker_open",
        "rate_limited",
        "no_key",
        "unknown",
    ]
    assert caught.value.retry_after_s == 3.0
    assert played.books.begun == []


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
        # Who refuses the request as such is believed, whoever was down before.
        ([down, ErrorClass.BAD_REQUEST], errors.Invalid),
    ]:
        engines = {str(at): Script(fails(error)) for at, error in enumerate(classes)}
        with pytest.raises(errors.Fault) as caught:
            await stage(engines, *engines).play()
        assert type(caught.value) is fault


async def test_usage_is_shown_exactly_when_asked_for() -> None:
    asked = await stage(
        {"a": Script(STREAM)}, "a", stream=True, stream_options={"include_usage": True}
    ).play()
    unasked = await stage({"a": Script(STREAM)}, "a", stream=True).play()

    assert [c["usage"] for c in asked] == [None, None, None, ANSWER["usage"]]
    assert asked[-1]["choices"] == []
    assert all("usage" not in c for c in unasked)
    assert len(unasked) == 3


async def test_usage_is_shown_even_when_the_provider_never_said_it() -> None:
    chunks = await stage(
        {"a": Script(STREAM[:3])}, "a", stream=True, stream_options={"include_usage": True}
    ).play()

    assert chunks[-1]["usage"] == {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}


async def test_a_stream_with_two_choices_ends_when_both_have() -> None:
    def both(index: int, **delta: Any) -> dict[str, Any]:
        finish = delta.pop("finish", None)
        return {**chunk(), "choices": [{"index": index, "delta": delta, "finish_reason": finish}]}

    lines = [both(0, content="a"), both(1, content="b"), both(0, finish="stop")]

    with pytest.raises(errors.Unavailable):
        await stage({"a": Script(lines)}, "a", stream=True).play()
    assert len(await stage({"a": Script([*lines, both(1, finish="stop")])}, "a", stream=True).play()) == 4


async def test_a_stream_that_loses_one_of_the_answers_asked_for_is_no_whole_answer() -> None:
    first = {**chunk(), "choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}]}
    second = {**chunk(), "choices": [{"index": 1, "delta": {"content": "b"}}]}

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

    assert [ErrorClass.MALFORMED, None] == [attempt.error for attempt in played.books.made]
    assert [Kind.PARTIAL, Kind.FINAL] == [attempt.kind for attempt in played.books.made]


async def test_a_key_in_a_providers_words_goes_no_further() -> None:
    played = stage({"a": Script([Failed(ErrorClass.BAD_REQUEST, "the key sk-x and more")])}, "a")

    with pytest.raises(errors.Invalid) as caught:
        await played.play()

    assert "sk-x" not in f"{caught.value} {played.books.made}"


class Reasoner(Known):
    """Everybody reasons."""

    def find(self, ident: str) -> tuple[Deployment, Engine] | None:
        found = super().find(ident)
        return found and (replace(found[0], capabilities=frozenset(("reasoning",))), found[1])


@pytest.mark.parametrize(
    ("delta", "cost"), [({"content": "x"}, 900), ({"reasoning_content": "hm", "content": "x"}, 7 + 3 * 4)]
)
async def test_reasoning_that_is_never_shown_may_cost_as_much_as_was_reserved(
    delta: dict[str, str], cost: int
) -> None:
    line = {**chunk(), "choices": [{"index": 0, "delta": delta}]}
    engine = Script([line, *fails(ErrorClass.CUT, billed=True)])
    played = stage({"a": engine}, "a", stream=True, known=Reasoner)

    with pytest.raises(errors.Unavailable):
        await played.play()

    assert cost == played.books.made[0].cost_nano_usd


async def test_a_record_that_cannot_be_made_in_time_calls_nobody() -> None:
    class Slow(Notes):
        async def started(self, work: Work, attempt: Attempt) -> None:
            await asyncio.Event().wait()

    engine = Script([ANSWER])
    played = stage({"a": engine}, "a", books=Slow(), deadline_s=0.05)

    with pytest.raises(errors.TimedOut):
        await played.play()

    assert [] == engine.calls
    assert 1 == len(played.gate.released)
