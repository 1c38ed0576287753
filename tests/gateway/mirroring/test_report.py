"""A report names the regressions that were planted, and none where there is none."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from services.chassis import errors
from services.gateway import postgres
from services.gateway.mirroring import report
from services.gateway.mirroring.answers import Said
from services.gateway.mirroring.comparison import Compared, Side
from services.gateway.mirroring.grading import Grades
from services.gateway.mirroring.store import MirrorReports, MirrorStore, Pair
from services.gateway.reports.readers import Readers

CATEGORIES = ("code", "math", "chat")
SINCE, UNTIL = datetime(2020, 1, 1, tzinfo=UTC), datetime.now(UTC) + timedelta(days=1)


def pairs(mirror: str, count: int, random: Random, *, worse: bool) -> Iterator[Pair]:
    """A target like the callers' own, or one that is graded lower in code, slower, and often gives no JSON."""
    for i in range(count):
        category = CATEGORIES[i % len(CATEGORIES)]
        base = random.lognormvariate(6, 0.5)
        slower = 1.5 if worse else 1.0
        said = Said(text="x" * random.randint(1, 50), finish="stop")
        yield Pair(
            request_id=f"{mirror}-{i}",
            mirror=mirror,
            of_request_id=f"own-{i}",
            plan="pro",
            operation="chat",
            category=category,
            own=Side("own", "", base, base / 3, 1000, said),
            target=Side("new", "", base * slower * random.uniform(0.9, 1.1), base / 3, 1000, said),
            compared=Compared(
                json_valid=True, target_json_valid=not worse or random.random() < 0.7, similarity=0.8
            ),
            grades=Grades(
                random.choice((4, 5)), random.choice((1, 2) if worse and category == "code" else (4, 5))
            ),
        )


async def test_a_report_names_what_was_planted_and_no_more(pool: postgres.Pool) -> None:
    store, reports = MirrorStore(pool), MirrorReports(Readers(pool))
    for name, worse in (("worse", True), ("alike", False)):
        for pair in pairs(name, 450, Random(7), worse=worse):
            await store.add(pair)

    found = report.shown(await reports.sums("worse", SINCE, UNTIL))
    assert ("regression", 450) == (found["verdict"], found["requests"])
    said = found["regressions"]
    assert any(one.startswith("in category code (150 requests) the target is graded lower") for one in said)
    assert not any("category math" in one and "graded" in one for one in said)
    assert not any("category chat" in one and "graded" in one for one in said)
    assert any(one.startswith("in all (450 requests) the target is slower: by at least") for one in said)
    assert any(one.startswith("in all (450 requests) the target gives the JSON") for one in said)
    assert not any("costs more" in one or "fails" in one or "begins later" in one for one in said)
    code = next(one for one in found["groups"] if one["name"] == "code")["metrics"]["grade"]
    assert code["difference"][1] < 0 < code["own_mean"] - code["target_mean"]

    other = report.shown(await reports.sums("alike", SINCE, UNTIL))
    assert ("no_regression_shown", []) == (other["verdict"], other["regressions"])


async def test_a_report_says_when_too_little_is_known_and_when_there_is_nothing(pool: postgres.Pool) -> None:
    store, reports = MirrorStore(pool), MirrorReports(Readers(pool))
    for pair in pairs("few", 20, Random(1), worse=True):
        await store.add(pair)

    found = report.shown(await reports.sums("few", SINCE, UNTIL))
    assert ("too_little_known", 20) == (found["verdict"], found["requests"])
    with pytest.raises(errors.NotFound):
        await reports.sums("nobody", SINCE, UNTIL)


def test_alike_targets_are_called_worse_in_few_of_many_reports_however_often_one_looks() -> None:
    """The intervals hold at every look: of 100 mirrors without a difference at most 5 may ever be called worse."""
    random, wrong = Random(3), 0
    for _ in range(100):
        total = squares = 0.0
        for n in range(1, 1001):
            difference = random.gauss(0, 100)
            total, squares = total + difference, squares + difference**2
            if n % 50:
                continue
            sums = report.Sums(report.Group.ALL, "", "latency_ms", n, 0.0, total, total, squares)
            if report.findings([sums])[0].regression:
                wrong += 1
                break
    assert wrong <= 5


async def test_an_answer_that_is_too_long_to_be_read_counts_in_time_and_cost_alone(
    pool: postgres.Pool,
) -> None:
    store, reports = MirrorStore(pool), MirrorReports(Readers(pool))
    for pair in pairs("endless", 3, Random(1), worse=False):
        unread = replace(pair.target, said=None) if pair.request_id == "endless-0" else pair.target
        await store.add(replace(pair, target=unread))

    sums = await reports.sums("endless", SINCE, UNTIL)
    counted = {one.metric: one.requests for one in sums if one.group is report.Group.ALL}
    assert (3, 3, 3) == (counted["error_share"], counted["latency_ms"], counted["cost_usd"])
    assert (2, 2) == (counted["characters"], counted["finish_equal_share"])
