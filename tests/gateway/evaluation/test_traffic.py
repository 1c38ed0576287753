"""Prompts of users: which become tasks, and that none is asked after it may not be any more."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.gateway.evaluation.caller import Caller, CallError
from services.gateway.evaluation.results import MixedError, Results
from services.gateway.evaluation.tasks import Task
from services.gateway.evaluation.traffic import LONGEST, Traffic, Wanted, task
from tests.gateway.evaluation.fake_gateway import FakeGateway, started


def chat(text: Any, **more: Any) -> dict[str, Any]:
    return {"model": "a", "messages": [{"role": "user", "content": text}], **more}


async def drawn(gateway: FakeGateway, path: Path, *, each: int = 20) -> tuple[dict[str, Task], int]:
    async with Caller(gateway.url, "admin") as admin:
        traffic = Traffic(admin)
        with Results(path) as results:
            return await traffic.tasks(
                Wanted("2026-11-21T00:00:00Z", each=each), results
            ), traffic.passed_over


async def test_prompts_are_taken_evenly_one_of_each_conversation_and_again_at_the_next_start(
    gateway: FakeGateway, tmp_path: Path
) -> None:
    later = chat("code 0")
    later["messages"] += [{"role": "assistant", "content": "?"}, {"role": "user", "content": "Go on."}]
    gateway.prompts = {
        "code-0": chat("code 0"),
        "code-1": later,
        "code-2": chat("code 2", tools=[{"type": "function"}]),
        "code-3": chat([{"type": "image_url", "image_url": {"url": "data:"}}]),
        "code-4": None,
        "code-5": chat("code 5"),
        "code-6": chat("code 6"),
        "math-0": chat("math 0"),
    }
    first, passed_over = await drawn(gateway, tmp_path / "r", each=2)
    gateway.prompts["code-7"] = chat("code 7")
    del gateway.prompts["code-5"]
    second, gone = await drawn(gateway, tmp_path / "r", each=2)

    assert (["code-0", "code-5", "math-0"], 4) == (list(first), passed_over)
    assert (["code-0", "math-0"], 1) == (list(second), gone)
    assert ("code", 3, None) == (first["code-0"].category, first["code-0"].level, first["code-0"].check)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"window": "14d"}, "--traffic 7d"),
        ({"plan": "closed", "seed": "2"}, "--of-plan open --seed 1"),
        ({"each": 3}, "--each 20"),
        ({"categories": ["math"]}, "--categories code,math"),
        ({"plan": ""}, "--of-plan open"),
    ],
)
async def test_a_start_that_goes_on_says_the_same(
    gateway: FakeGateway, tmp_path: Path, other: dict[str, Any], said: str
) -> None:
    gateway.prompts = {"code-0": chat("code 0")}
    wanted = Wanted("2026-11-21T00:00:00Z", "open", 20, "1", ["math", "code"], "7d")
    async with Caller(gateway.url, "admin") as admin:
        with Results(tmp_path / "r") as results:
            results.check(wanted.options)
            await Traffic(admin).tasks(wanted, results)

    with Results(tmp_path / "r") as results:
        # Later 7d begins later, and means the same.
        results.check(replace(wanted, since="2026-11-22T00:00:00Z", categories=["code", "math"]).options)
        with pytest.raises(MixedError, match=f"it was begun with {said}; say the same"):
            results.check(replace(wanted, **other).options)
        # No answer is there yet, and still the file is of these prompts.
        with pytest.raises(MixedError, match="it is of users' prompts"):
            results.check(None)


def test_a_file_of_other_tasks_takes_no_prompts_of_users(tmp_path: Path) -> None:
    wanted = Wanted("2026-11-21T00:00:00Z").options
    with Results(tmp_path / "r") as results:
        results.check(wanted)
        results.check(None)
        results.append({"kind": "answer", "model": "a", "task": "t"})
        results.check(None)
        with pytest.raises(MixedError, match="it is of other prompts"):
            results.check(wanted)


async def test_a_plan_that_allows_it_later_has_no_part_in_a_start_that_goes_on(
    gateway: FakeGateway, tmp_path: Path
) -> None:
    gateway.prompts = {"code-0": chat("code 0")}
    await drawn(gateway, tmp_path / "r")
    gateway.plans = ["open", "later"]

    async with Caller(gateway.url, "admin") as admin:
        traffic = Traffic(admin)
        with Results(tmp_path / "r") as results:
            await traffic.tasks(Wanted("2026-11-21T00:00:00Z"), results)

    assert "of the plan open, which" in traffic.said(1)


async def test_without_a_prompt_it_says_why(gateway: FakeGateway, tmp_path: Path) -> None:
    with pytest.raises(
        CallError, match="no prompt of the plan open that can be evaluated was kept since 2026"
    ):
        await drawn(gateway, tmp_path / "r")


async def test_a_prompt_that_is_withdrawn_is_not_asked_and_its_answers_are_forgotten(
    gateway: FakeGateway, tmp_path: Path
) -> None:
    path = tmp_path / "r"
    gateway.prompts = {f"code-{n}": chat(f"code {n}") for n in range(8)}
    tasks, _ = await drawn(gateway, path)
    async with Caller(gateway.url, "admin") as admin:

        async def withdrawn(one: Task) -> bool:
            # The first prompt's user is erased once two models have answered it.
            if sum(question == "code 0" for _, question in gateway.asked) == 2:
                gateway.prompts.pop("code-0", None)
            return await Traffic(admin).withdrawn(one)

        runner = await started(gateway, path, tasks=tasks, by="judge", at_once=1, withdrawn=withdrawn)
        gateway.prompts.pop("code-1")
        with Results(path) as results:
            await Traffic(admin).tasks(Wanted("2026-11-21T00:00:00Z"), results)

    assert {"code-0"} == runner.withdrawals
    assert 2 == sum(question == "code 0" for _, question in gateway.asked)
    with Results(path) as results:
        assert list(tasks) == results.prompts
        answers = [row for row in results.rows if row["kind"] == "answer"]
    assert {"code-0", "code-1"} == {row["task"] for row in answers if not row["text"]}
    # What they cost stays.
    assert all(row["nano_usd"] for row in answers)
    assert 0o600 == path.stat().st_mode & 0o777


async def test_at_its_end_an_evaluation_looks_at_all_prompts_once_more(
    gateway: FakeGateway, tmp_path: Path
) -> None:
    gateway.prompts = {f"code-{n}": chat(f"code {n}") for n in range(3)}
    tasks, _ = await drawn(gateway, tmp_path / "r")
    async with Caller(gateway.url, "admin") as admin:

        async def withdrawn(one: Task) -> bool:
            # What was asked first is withdrawn after its last question.
            if len(gateway.asked) == 3:
                gateway.prompts.pop("code-0", None)
            return await Traffic(admin).withdrawn(one)

        runner = await started(
            gateway, tmp_path / "r", models="a", tasks=tasks, by="judge", at_once=1, withdrawn=withdrawn
        )

    assert (3, {"code-0"}) == (runner.design.calls, runner.withdrawals)
    assert ["code-0"] == [row["task"] for row in runner.results.rows if not row["text"]]


async def test_no_judge_reads_an_answer_to_a_prompt_that_was_withdrawn_meanwhile(
    gateway: FakeGateway, tmp_path: Path
) -> None:
    gateway.prompts = {"code-0": chat("code 0")}
    gateway.holds["b"] = asyncio.Event()
    tasks, _ = await drawn(gateway, tmp_path / "r")
    looks = 0

    async def withdrawn(_: Task) -> bool:
        nonlocal looks
        looks += 1
        if looks == 3:
            gateway.holds["b"].set()
        return looks >= 3

    # The answer of b is under way when the prompt is looked up for c.
    runner = await started(
        gateway, tmp_path / "r", models="a b c", tasks=tasks, by="judge", at_once=2, withdrawn=withdrawn
    )

    assert [("a", "code 0"), ("b", "code 0")] == sorted(gateway.asked)
    assert not gateway.judged
    assert ["", ""] == [row["text"] for row in runner.results.rows]


async def test_answers_go_when_no_plan_allows_anything_any_more(gateway: FakeGateway, tmp_path: Path) -> None:
    gateway.prompts = {"code-0": chat("code 0"), "code-1": chat("code 1")}
    tasks, _ = await drawn(gateway, tmp_path / "r")
    await started(gateway, tmp_path / "r", models="a", tasks=tasks, by="judge")
    gateway.prompts, gateway.consented = {}, False

    with pytest.raises(CallError, match="no plan lets prompts be evaluated"):
        await drawn(gateway, tmp_path / "r")
    gateway.consented = True
    with pytest.raises(CallError, match="none of the prompts that were drawn may be used any more"):
        await drawn(gateway, tmp_path / "r")

    with Results(tmp_path / "r") as results:
        assert ["", ""] == [row["text"] for row in results.rows]


async def test_a_prompt_that_may_be_used_again_is_asked_and_judged_anew(
    gateway: FakeGateway, tmp_path: Path
) -> None:
    path = tmp_path / "r"
    gateway.prompts = {"code-0": chat("code 0")}
    tasks, _ = await drawn(gateway, path)
    first = await started(gateway, path, models="a b", tasks=tasks, by="judge")
    with Results(path) as results:
        results.forget(tasks)

    again = await started(gateway, path, models="a b", tasks=tasks, by="judge")

    assert {("a", "code 0"): 2, ("b", "code 0"): 2} == gateway.asked
    assert (2, 4) == (first.design.calls, len(gateway.judged))
    assert not any("(empty)" in read for read in gateway.judged)
    assert 2 * first.spending.spent == again.spending.spent
    third = await started(gateway, path, models="a b", tasks=tasks, by="judge")
    assert third.design.estimates() == again.design.estimates()
    assert 4 == len(gateway.judged)


async def test_nothing_more_is_asked_when_nobody_says_that_prompts_may_be(
    gateway: FakeGateway, tmp_path: Path
) -> None:
    async def unknown(_: Task) -> bool:
        raise CallError("no answer")

    runner = await started(gateway, tmp_path / "r", by="judge", withdrawn=unknown)

    assert "it is not known whether prompts may still be used: no answer" == runner.over
    assert not gateway.asked
    assert not runner.left_out


def test_a_long_prompt_is_no_task() -> None:
    kept = {"category": "no such category", "strong_win_rate": 1.0, "request": chat("x" * LONGEST)}
    found = task("r", kept)
    assert found is not None
    assert ("other", 4) == (found.category, found.level)
    assert task("r", {**kept, "request": chat("ü" * LONGEST)}) is None


def test_a_system_text_beside_the_messages_is_asked_too() -> None:
    kept = {"category": "code", "strong_win_rate": 0.0, "request": chat("code 0", system="Be brief.")}
    found = task("r", kept)

    assert found is not None
    assert [("system", "Be brief."), ("user", "code 0")] == [
        (one.role, one.content) for one in found.messages
    ]


CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("said", "more"),
    [
        ({"role": "assistant", "content": "I look.", "tool_calls": [CALL]}, {}),
        ({"role": "assistant", "content": "I look.", "function_call": {"name": "f"}}, {}),
        ({"role": "assistant", "content": "I look."}, {"system": [{"type": "text", "text": "Be brief."}]}),
        ("I look.", {}),
    ],
)
def test_a_prompt_that_is_more_than_texts_is_no_task(said: Any, more: dict[str, Any]) -> None:
    body = chat("code 0", **more)
    plain = {"role": "assistant", "content": "I look.", "tool_calls": None, "name": "it"}
    kept = {"category": "code", "strong_win_rate": 0.0}

    assert task("r", {**kept, "request": {**body, "messages": [*body["messages"], said]}}) is None
    assert task("r", {**kept, "request": {**chat("code 0"), "messages": [*body["messages"], plain]}})
