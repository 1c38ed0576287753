"""An evaluation against a gateway that answers as simulated models of known strengths would."""

import asyncio
from pathlib import Path

import pytest

from services.chassis.measured_scores import Measured
from services.gateway.evaluation import checks, judge, summary
from services.gateway.evaluation.caller import Caller
from services.gateway.evaluation.estimates import Estimate
from services.gateway.evaluation.report import Report
from services.gateway.evaluation.results import MixedError, Results
from services.gateway.evaluation.sandbox import NoSandboxError
from services.gateway.evaluation.tasks import Task
from services.gateway.evaluation.verdicts import pairs
from tests.gateway.evaluation.fake_gateway import PRICES, STRENGTHS, TASKS, TOKENS, FakeGateway, started

JUDGED = {
    "chat-0": Task.model_validate(
        {
            "id": "chat-0",
            "category": "chat",
            "messages": [{"role": "user", "content": "chat 0"}],
            "check": {"kind": "judge", "criteria": "It is right."},
        }
    )
}


async def test_an_interrupted_evaluation_goes_on_and_finds_the_order_in_every_category(
    gateway: FakeGateway, tmp_path: Path
) -> None:
    path = tmp_path / "results.jsonl"
    gateway.limited = 5
    first = await started(gateway, path, stop_after=40)
    # The process was killed while it wrote.
    with path.open("ab") as file:
        file.write(b'{"kind": "answer", "mod')
    second = await started(gateway, path)
    third = await started(gateway, path)

    assert "it was interrupted" == first.over
    assert 40 <= first.design.calls <= 44
    assert {1} == set(gateway.asked.values())
    assert second.design.calls == third.design.calls == len(gateway.asked)
    assert second.design.calls <= second.design.plain_calls / 2
    for category, found in second.design.estimates().items():
        assert sorted(STRENGTHS[category], key=lambda m: -STRENGTHS[category][m]) == sorted(
            found, key=lambda m: -found[m].expected
        )
    # What was spent is what the answers said, over all starts.
    cost = sum(PRICES[name] * TOKENS * 1000 for name, _ in gateway.asked)
    assert round(cost) == second.spending.spent == third.spending.spent
    assert gateway.most_at_once <= second.setup.at_once


async def test_models_are_those_that_answer_at_a_known_price(gateway: FakeGateway) -> None:
    async with Caller(gateway.url, "key") as caller:
        assert ["a", "free"] == await caller.models()


async def test_the_budget_is_never_passed(gateway: FakeGateway, tmp_path: Path) -> None:
    usd = 0.0099
    runner = await started(gateway, tmp_path / "r", usd=usd)

    cost = sum(PRICES[name] * TOKENS for name, _ in gateway.asked) / 1e6
    dearest = PRICES["a"] * TOKENS / 1e6
    assert usd - 2 * dearest < cost <= usd
    assert "budget" in runner.over


async def test_long_criteria_of_a_judge_count_against_the_budget(
    gateway: FakeGateway, tmp_path: Path
) -> None:
    long = JUDGED["chat-0"].model_dump() | {"check": {"kind": "judge", "criteria": "ü" * 50_000}}
    gateway.input_usd = 1.0

    # Each of two prompts of the judge has as many bytes, at a dollar a million tokens.
    runner = await started(
        gateway,
        tmp_path / "r",
        models="a",
        tasks={"chat-0": Task.model_validate(long)},
        usd=0.19,
        by="judge",
        reference="b",
    )

    assert not gateway.asked
    assert "budget" in runner.over


async def test_a_key_without_money_ends_it_and_nothing_is_lost(gateway: FakeGateway, tmp_path: Path) -> None:
    gateway.spent_after = 10
    runner = await started(gateway, tmp_path / "r")

    assert "the budget is spent" == runner.over
    assert len(gateway.asked) == runner.design.calls


async def test_models_that_break_or_let_others_answer_are_left_out(
    gateway: FakeGateway, tmp_path: Path
) -> None:
    runner = await started(gateway, tmp_path / "r", models="a broken falls")

    assert "it is broken" == runner.left_out["broken"]
    assert "a answered instead of falls" == runner.left_out["falls"]
    # The answers of the other model had to be paid.
    assert runner.spending.spent == sum(row["nano_usd"] for row in runner.results.rows)
    told = summary.models(runner.design.estimates(), runner.results.rows)
    assert ["a"] == [one.name for one in told]


def fair(question: str) -> str:
    """Prefers the right answer, wherever it stands."""
    first, _, second = question.partition("Answer 1:")[2].partition("Answer 2:")
    one, other = ("It is right." in text for text in (first, second))
    return "Better: neither" if one == other else f"Better: {1 if one else 2}"


async def test_a_fair_judge_decides_by_both_orders_and_is_compared_with_checks(
    gateway: FakeGateway, tmp_path: Path
) -> None:
    gateway.judges = fair
    tasks = {**TASKS, **JUDGED}
    runner = await started(gateway, tmp_path / "r", tasks=tasks, by="judge")

    rows = [row for row in runner.results.rows if row["kind"] == "verdict"]
    judged = [row for row in rows if not row["compared"]]
    assert {("chat-0", "a")} == {(row["task"], row["reference"]) for row in judged}
    # Each pair stands once in either order, with what a good answer has.
    assert len(gateway.judged) == len(rows) == 2 * len(pairs(rows))
    assert all("What a good answer has" in text for text in gateway.judged if "[user]\nchat 0" in text)
    found = summary.agreement(runner.results.rows)
    assert found is not None
    assert (len(pairs(rows)), 1.0, 0) == (found.pairs.n, found.pairs.share, found.first.n)
    assert 2 * found.checked.n == len(rows) - len(judged) <= 48
    assert found.checked.n >= 8
    assert 1.0 == found.checked.share
    answers = {
        row["model"]: row
        for row in runner.results.rows
        if row["kind"] == "answer" and row["task"] == "chat-0"
    }
    right = {name: "right" in row["text"] for name, row in answers.items()}
    assert {
        pair.model: ((right[pair.model] > right["a"]) - (right[pair.model] < right["a"]),) * 2
        for pair in pairs(judged)
    } == {pair.model: said.both for pair, said in pairs(judged).items()}
    again = await started(gateway, tmp_path / "r", tasks=tasks, by="judge")
    assert len(gateway.judged) == len(rows)
    assert again.design.estimates() == runner.design.estimates()


async def test_a_judge_that_likes_what_stands_first_decides_nothing_and_is_told(
    gateway: FakeGateway, tmp_path: Path
) -> None:
    runner = await started(gateway, tmp_path / "r", models="a b c", tasks=JUDGED, by="judge", everything=True)

    assert {"a": 0.5, "b": 0.5, "c": 0.5} == {
        name: one.share for name, one in runner.design.estimates()["chat"].items()
    }
    found = summary.agreement(runner.results.rows)
    assert found is not None
    assert (2, 0.0, 2, 1.0) == (found.pairs.n, found.pairs.share, found.first.n, found.first.share)
    # The answer that all are compared with is asked for once.
    assert {("a", "chat 0"): 1, ("b", "chat 0"): 1, ("c", "chat 0"): 1} == gateway.asked


async def test_another_reference_is_compared_with_anew(gateway: FakeGateway, tmp_path: Path) -> None:
    gateway.judges = fair
    first = await started(gateway, tmp_path / "r", models="a b", tasks=JUDGED, by="judge")
    second = await started(gateway, tmp_path / "r", models="a b", tasks=JUDGED, by="judge", reference="c")

    assert 2 == len(gateway.judged) - 4
    assert {1} == set(gateway.asked.values())
    assert 0.5 == first.design.estimates()["chat"]["a"].share
    found = summary.agreement(second.results.rows)
    assert found is not None
    assert ("c", 2) == (found.reference, found.pairs.n)


@pytest.mark.parametrize(
    ("breaks", "says"), [("both", ""), ("second", "Better: 1"), ("", "I will not."), ("", "Better: 3")]
)
async def test_a_judge_that_fails_takes_no_grade_from_a_check_and_leaves_no_model_out(
    gateway: FakeGateway, tmp_path: Path, breaks: str, says: str
) -> None:
    gateway.judge_breaks, gateway.judge_says = breaks, says
    judged = {f"chat-{n}": JUDGED["chat-0"].model_copy(update={"id": f"chat-{n}"}) for n in range(8)}

    runner = await started(
        gateway,
        tmp_path / "r",
        models="b a",
        tasks={**TASKS, **judged},
        by="judge",
        everything=True,
        # Every second call is the second one of a pair only where pairs come one after the other.
        at_once=1 if breaks == "second" else 4,
    )

    assert ["judge"] == list(runner.left_out)
    # The judge is not asked for ever; each question under way may still ask it.
    assert gateway.judge_calls <= 2 * (3 + runner.setup.at_once)
    assert {"code": 20, "math": 20, "chat": 12} == {
        category: found["a"].n for category, found in runner.design.estimates().items()
    }
    # Every call that was answered was counted and written, the first of two as well.
    cost = sum(1000 * TOKENS * PRICES[name] * count for (name, _), count in gateway.asked.items())
    cost += 1000 * TOKENS * PRICES["judge"] * len(gateway.judged)
    assert round(cost) == runner.spending.spent == sum(row["nano_usd"] for row in runner.results.rows)


async def test_a_reference_that_does_not_answer_is_no_fault_of_the_others(
    gateway: FakeGateway, tmp_path: Path
) -> None:
    runner = await started(
        gateway, tmp_path / "r", models="a b", tasks=JUDGED, by="judge", reference="broken"
    )

    assert not runner.left_out
    assert {0} == {one.n for one in runner.design.estimates()["chat"].values()}
    assert not gateway.judged


async def test_an_answer_without_a_verdict_is_compared_later_and_not_asked_again(
    gateway: FakeGateway, tmp_path: Path
) -> None:
    gateway.judge_says = "I will not."
    first = await started(gateway, tmp_path / "r", models="a", tasks=JUDGED, by="judge", reference="b")
    gateway.judges = fair
    second = await started(gateway, tmp_path / "r", models="a", tasks=JUDGED, by="judge", reference="b")

    assert 0 == first.design.estimates()["chat"]["a"].n
    assert 1 == second.design.estimates()["chat"]["a"].n
    assert {1} == set(gateway.asked.values())
    assert second.spending.spent == sum(row["nano_usd"] for row in second.results.rows)


async def test_of_a_pair_that_was_judged_in_one_order_only_the_other_one_is_asked_for(
    gateway: FakeGateway, tmp_path: Path
) -> None:
    gateway.judges = fair
    path = tmp_path / "r"
    whole = await started(gateway, path, models="a b", tasks=JUDGED, by="judge")
    # The process was killed between both verdicts.
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))

    again = await started(gateway, path, models="a b", tasks=JUDGED, by="judge")

    assert 3 == len(gateway.judged)
    rows = [row for row in again.results.rows if row["kind"] == "verdict"]
    assert [True, False] == [row["answer_first"] for row in rows]
    assert again.design.estimates() == whole.design.estimates()
    assert again.spending.spent == whole.spending.spent == sum(row["nano_usd"] for row in again.results.rows)


async def test_a_start_that_is_ended_between_two_verdicts_leaves_a_file_to_go_on_from(
    gateway: FakeGateway, tmp_path: Path
) -> None:
    began, goes_on = asyncio.Event(), asyncio.Event()

    async def ended() -> None:
        run = asyncio.create_task(started(gateway, tmp_path / "r", models="a b", tasks=JUDGED, by="judge"))
        await began.wait()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    gateway.judges, gateway.second_verdict = fair, (began, goes_on)
    await ended()
    goes_on.set()
    gateway.second_verdict = None
    with Results(tmp_path / "r") as results:
        (said,) = pairs(results.rows).values()
        assert ([True], None) == (list(said.verdicts), said.both)
        assert summary.agreement(results.rows) is None
    again = await started(gateway, tmp_path / "r", models="a b", tasks=JUDGED, by="judge")

    found = summary.agreement(again.results.rows)
    assert found is not None
    assert (1, 1) == (found.pairs.n, again.design.estimates()["chat"]["b"].n)


async def test_an_answer_is_paid_for_once_whatever_its_check_does(
    gateway: FakeGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_sandbox(*_: object) -> str:
        raise NoSandboxError("code cannot be run here")

    def breaks(*_: object) -> str:
        raise OverflowError("too large")

    tasks = {"code-0": TASKS["code-0"]}
    monkeypatch.setattr(checks, "fault", no_sandbox)
    with pytest.raises(NoSandboxError):
        await started(gateway, tmp_path / "r", models="a", tasks=tasks)
    monkeypatch.setattr(checks, "fault", breaks)
    await started(gateway, tmp_path / "r", models="a", tasks=tasks)
    again = await started(gateway, tmp_path / "r", models="a", tasks=tasks)

    assert [1] == list(gateway.asked.values())
    (row,) = again.results.rows
    assert (0.0, "its check failed: OverflowError('too large')") == (row["share"], row["fault"])
    assert again.design.estimates()["code"]["a"] == Estimate(1, 0.0)


async def test_a_changed_task_is_asked_again(gateway: FakeGateway, tmp_path: Path) -> None:
    tasks = {"code-0": TASKS["code-0"]}
    changed = {"code-0": TASKS["code-0"].model_copy(update={"reference": "also right"})}

    await started(gateway, tmp_path / "r", models="a", tasks=tasks)
    await started(gateway, tmp_path / "r", models="a", tasks=changed)

    assert [2] == list(gateway.asked.values())


def test_two_evaluations_do_not_write_one_file(tmp_path: Path) -> None:
    with Results(tmp_path / "r"), pytest.raises(MixedError, match="another evaluation"):
        Results(tmp_path / "r")
    (tmp_path / "other").write_text('{"a": 1}\n')
    with pytest.raises(MixedError, match="other:1"):
        Results(tmp_path / "other")


async def test_the_report_says_who_is_worth_having(gateway: FakeGateway, tmp_path: Path) -> None:
    runner = await started(gateway, tmp_path / "r")
    rows, estimates = runner.results.rows, runner.design.estimates()
    models = {one.name: one for one in summary.models(estimates, rows)}
    told = Report(
        "2026-11-22",
        list(models.values()),
        list(STRENGTHS),
        runner.design.calls,
        runner.design.plain_calls,
        str(runner.spending),
        runner.over,
        {"<x>": "gone"},
        3,
        summary.agreement(rows),
    )

    # c is cheap and the best on average; a is the best at code, b at math.
    assert models["c"].on_frontier
    assert models["d"].on_frontier
    assert not models["a"].on_frontier
    assert all(one.replaceable is None for one in models.values())
    assert all(one.low < one.quality < one.high for one in models.values())
    page = told.html()
    assert "&lt;x&gt; was left out: gone" in page
    assert all(f'<th scope="row">{name}</th>' in page for name in (*models, *STRENGTHS))
    assert "<script" not in page


def test_a_pair_counts_once_for_the_bias_of_a_judge() -> None:
    # Four pairs that it preferred the first answer of, two of these a little; one the second of; three without a bias.
    said = [(1, -1), (1, -1), (1, 0), (0, -1), (-1, 1), (1, 1), (-1, -1), (0, 0)]
    of = {"kind": "verdict", "model": "b", "digest": "", "judge": "j", "reference": "a", "compared": False}
    rows = [
        of | {"task": str(task), "answer_first": first, "verdict": verdict}
        for task, both in enumerate(said)
        for first, verdict in zip((True, False), both, strict=True)
    ]

    found = summary.agreement(rows)

    assert found is not None
    assert (Estimate(8, 3), Estimate(5, 4)) == (found.pairs, found.first)
    told = Report("2026-11-22", [], [], 8, 8, "", "", {}, 0, found)
    assert any(
        "Of the 5 pairs on which it did not say the same twice, it preferred what stood first in 80% (38% to 96%)"
        in line
        for line in told.conclusions
    )


def test_a_dear_model_that_is_nowhere_better_can_be_switched_off() -> None:
    estimates = {"code": {"dear": Estimate(20, 8.0), "cheap": Estimate(20, 18.0)}}
    rows = [
        {"kind": "answer", "category": "code", "model": name, "nano_usd": cost}
        for name, cost in (("dear", 1000), ("cheap", 10))
    ]

    cheap, dear = summary.models(estimates, rows)

    assert ("cheap", None, True) == (cheap.name, cheap.replaceable, cheap.on_frontier)
    assert dear.replaceable is not None
    assert dear.replaceable > 0.99


@pytest.mark.parametrize(
    ("said", "grade"),
    [
        ("Good.\nGrade: 4", 4),
        ("**Grade: 5/5**", 5),
        ("Grade 3.", 3),
        ("Grade: 4\nbut", None),
        ("Grade: 45", None),
        ("", None),
    ],
)
def test_a_grade_is_the_last_line(said: str, grade: int | None) -> None:
    assert grade == judge.grade(said)


def test_scores_are_written_for_what_was_asked_often_enough() -> None:
    earlier = {"old": {"code": Measured(0.5, 20, 0.3, 0.7, "2026-01-01")}}
    rows = [{"kind": "answer", "category": "code", "model": "a", "at": "2026-11-22T10:00:00+00:00"}]

    found = summary.scores({"code": {"a": Estimate(4, 3.0)}, "math": {"a": Estimate(3, 3.0)}}, rows, earlier)

    assert earlier["old"] == found["old"]
    assert ["code"] == list(found["a"])
    assert (0.75, 4, "2026-11-22") == (found["a"]["code"].share, found["a"]["code"].n, found["a"]["code"].on)
