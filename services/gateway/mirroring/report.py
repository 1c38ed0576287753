"""What the comparisons of a mirror say: differences with intervals, and the regressions that they show.

Each mirrored request was answered twice, so the differences are of pairs, and what requests have in common cancels out.
A request is the unit, as requests are drawn one by one; the intervals are those of experiments, which hold at every
look.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from services.chassis.money import NANO
from services.gateway.experiments import statistics
from services.gateway.experiments.statistics import Interval, Moments

# How probable it may be that anything a report says is ever wrong.
ALPHA = 0.05
# A slower or dearer target is no regression within this part of what its callers have now.
MARGIN = 0.05


class Group(StrEnum):
    """What requests are put together by."""

    ALL = "all"
    CATEGORY = "category"
    MODEL = "model"


@dataclass(frozen=True, slots=True)
class Metric:
    """A number that both sides of a request have.

    Attributes:
        name: What it is called in reports.
        own: The caller's side, as an expression of the table's columns; null where it has none.
        target: The target's side.
        worse: What a worse target does; empty where neither direction is worse.
        unit: Of the number, as people read it.
        scale: What it is multiplied by for that.
        less: Whether less is better.
        span: How far apart two differences can be; 0 where that has no bound.
        margin: The part of the callers' mean that is no regression.

    """

    name: str
    own: str
    target: str
    worse: str = ""
    unit: str = ""
    scale: float = 1.0
    less: bool = True
    span: float = 0.0
    margin: float = 0.0


ANSWERED = "failure = '' AND target_failure = ''"
# Both answered, and neither answer was too long to be read.
READ = "refused IS NOT NULL AND target_refused IS NOT NULL"


def _of_answers(name: str, column: str, worse: str, unit: str, per: int = 1, where: str = ANSWERED) -> Metric:
    """A metric of requests that both answered: a column, divided by `per`."""
    own, target = (f"CASE WHEN {where} THEN {one} / {per}.0 END" for one in (column, f"target_{column}"))
    return Metric(name, own, target, worse, unit, margin=MARGIN)


def _share(name: str, own: str, target: str, worse: str, *, less: bool = True) -> Metric:
    """A metric that is true or false of each request."""
    return Metric(name, own, target, worse, "% of the requests", 100.0, less, span=2.0)


METRICS: Sequence[Metric] = (
    _share("error_share", "(failure <> '')::int", "(target_failure <> '')::int", "fails more often"),
    _of_answers("latency_ms", "latency_ms", "is slower", "ms"),
    _of_answers("first_ms", "first_ms", "begins later", "ms"),
    _of_answers("cost_usd", "cost_nano_usd", "costs more", "USD a request", NANO),
    _share(
        "json_valid_share",
        "json_valid::int",
        "target_json_valid::int",
        "gives the JSON that is asked for less often",
        less=False,
    ),
    _share("refused_share", "refused::int", "target_refused::int", "refuses more often"),
    Metric("grade", "grade", "target_grade", "is graded lower", "of 5", less=False, span=8.0),
    # Neither direction of these is worse; of the last three the caller's side is what an equal answer has.
    _of_answers("characters", "characters", "", "characters", where=READ),
    Metric("finish_equal_share", f"CASE WHEN {READ} THEN 1 END", "(finish = target_finish)::int", span=2.0),
    Metric("tools_equal_share", "1", "tools_equal::int", span=2.0),
    Metric("similarity", "1", "similarity", span=2.0),
)
BY_NAME = {one.name: one for one in METRICS}
JUDGED = [one for one in METRICS if one.worse]


@dataclass(frozen=True, slots=True)
class Sums:
    """One metric of a group of requests.

    Attributes:
        group: What the requests were put together by.
        name: Which of these; empty for all.
        metric: The metric.
        requests: How many have it on both sides.
        own: The sum of the callers' side.
        target: The sum of the target's.
        total: The sum of the differences, the target's minus the callers'.
        squares: The sum of their squares.

    """

    group: Group
    name: str
    metric: str
    requests: int
    own: float
    target: float
    total: float
    squares: float


@dataclass(frozen=True, slots=True)
class Finding:
    """What is known of one metric in a group: the difference is None before enough is known."""

    sums: Sums
    difference: Interval | None

    @property
    def regression(self) -> str:
        """In what the target is surely worse; empty where it is not."""
        metric = BY_NAME[self.sums.metric]
        if self.difference is None or not metric.worse:
            return ""
        least = self.difference.low if metric.less else -self.difference.high
        if least <= metric.margin * abs(self.sums.own / self.sums.requests):
            return ""
        where = f"in {self.sums.group} {self.sums.name or 'none'}" if self.sums.name else "in all"
        return (
            f"{where} ({self.sums.requests} requests) the target {metric.worse}: by at least "
            f"{least * metric.scale:.3g} {metric.unit}"
        )


def findings(found: Sequence[Sums]) -> list[Finding]:
    """Each metric of each group, with an interval; all intervals together are wrong with ALPHA at most."""
    groups = {(one.group, one.name) for one in found}
    alpha = ALPHA / max(1, len(JUDGED) * len(groups))
    return [Finding(one, statistics.of_mean(_moments(one), alpha, BY_NAME[one.metric].span)) for one in found]


def shown(found: Sequence[Sums]) -> dict[str, Any]:
    """The report: the verdict, the regressions, and the numbers by group."""
    known = findings(found)
    regressions = [one.regression for one in _ordered(known) if one.regression]
    judged = any(one.difference is not None for one in known if BY_NAME[one.sums.metric].worse)
    return {
        "requests": max((one.requests for one in found if one.group is Group.ALL), default=0),
        "verdict": "regression" if regressions else "no_regression_shown" if judged else "too_little_known",
        "sentence": _sentence(regressions, judged=judged),
        "regressions": regressions,
        "level": 1 - ALPHA,
        "least_requests": statistics.LEAST_REQUESTS,
        "groups": [
            {"group": group, "name": name or None, "metrics": _metrics(known, group, name)}
            for group, name in dict.fromkeys((one.sums.group, one.sums.name) for one in _ordered(known))
        ],
    }


def _sentence(regressions: Sequence[str], *, judged: bool) -> str:
    if regressions:
        return f"Regression: {'; '.join(regressions)}."
    if not judged:
        return (
            f"Too little is known: something is said from {statistics.LEAST_REQUESTS} mirrored requests on."
        )
    return "No regression is shown."


def _metrics(known: Sequence[Finding], group: Group, name: str) -> dict[str, Any]:
    return {
        one.sums.metric: {
            "requests": one.sums.requests,
            "own_mean": one.sums.own / one.sums.requests,
            "target_mean": one.sums.target / one.sums.requests,
            "difference": None if one.difference is None else [one.difference.low, one.difference.high],
        }
        for one in known
        if (one.sums.group, one.sums.name) == (group, name)
    }


def _ordered(known: Sequence[Finding]) -> Iterator[Finding]:
    """All requests first, then the groups, each with the metrics in their order."""
    groups, metrics = list(Group), list(BY_NAME)
    return iter(
        sorted(
            known,
            key=lambda one: (groups.index(one.sums.group), one.sums.name, metrics.index(one.sums.metric)),
        )
    )


def _moments(one: Sums) -> Moments:
    """Of the differences, where each request is a unit of its own."""
    return Moments(
        units=one.requests,
        requests=one.requests,
        total=one.total,
        squares=one.squares,
        unit_counts=one.requests,
        unit_totals=one.squares,
        unit_products=one.total,
    )
