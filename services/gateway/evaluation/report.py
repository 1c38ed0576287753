"""The report of an evaluation as one HTML file, without scripts and without anything from elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2

from services.gateway.evaluation.estimates import Estimate
from services.gateway.evaluation.summary import Agreement, ModelSummary

_TEMPLATE = Path(__file__).parent / "report.html"
# The chart's plane, in its own units.
_WIDTH, _HEIGHT, _MARGIN = 640, 320, 48


@dataclass(frozen=True, slots=True)
class Point:
    """One model in the chart."""

    x: float
    y: float
    top: float
    bottom: float
    model: ModelSummary


@dataclass(frozen=True, slots=True)
class Report:
    """All that is told.

    Attributes:
        on: The day.
        models: The best first.
        categories: In the order of the tasks.
        calls: Answers that were graded.
        plain_calls: How many would be asked if every model were asked everything.
        spent: What it cost, in words.
        over: Why it ended.
        left_out: Why models were left out, by name.
        skipped: Tasks that were not asked, as no judge was named.
        agreement: How far the judge can be trusted.

    """

    on: str
    models: Sequence[ModelSummary]
    categories: Sequence[str]
    calls: int
    plain_calls: int
    spent: str
    over: str
    left_out: dict[str, str]
    skipped: int
    agreement: Agreement | None

    @property
    def conclusions(self) -> list[str]:
        """What follows, in sentences."""
        lines = []
        frontier = [
            one.name for one in sorted(self.models, key=lambda one: one.usd_per_task) if one.on_frontier
        ]
        if frontier:
            lines.append(f"Nothing is both better and cheaper than {_listed(frontier)}.")
        lines += [
            f"{one.name} could be switched off: in every category a cheaper model did as well or better "
            f"(where that is least sure, with a probability of {one.replaceable:.0%})."
            for one in self.models
            if one.replaceable is not None
        ]
        lines += [f"{name} was left out: {why}" for name, why in self.left_out.items()]
        if self.skipped:
            lines.append(f"{self.skipped} tasks need a judge and were not asked; name one with --judge.")
        if (found := self.agreement) is not None:
            lines.append(
                f"{found.judge} compared {found.pairs.n} answers with those of {found.reference}, each twice with "
                f"their places swapped: both verdicts agree in {found.pairs.share:.0%}; the others count as ties."
            )
            if found.first.n:
                low, high = found.first.interval
                lines.append(
                    f"Of the {found.first.n} pairs on which it did not say the same twice, it preferred what stood "
                    f"first in {found.first.share:.0%} ({low:.0%} to {high:.0%}); without a bias it is half of them."
                )
            if found.checked.n:
                lines.append(
                    f"It agrees with the checks, twice, on {found.checked.share:.0%} of {found.checked.n} pairs of "
                    "which one answer is right."
                )
        return lines

    @property
    def points(self) -> list[Point]:
        """The models by cost and quality."""
        dearest = max((one.usd_per_task for one in self.models), default=0.0) or 1.0

        def height(quality: float) -> float:
            return round(_HEIGHT - _MARGIN - quality * (_HEIGHT - 2 * _MARGIN), 1)

        return [
            Point(
                round(_MARGIN + one.usd_per_task / dearest * (_WIDTH - 4 * _MARGIN), 1),
                height(one.quality),
                height(one.high),
                height(one.low),
                one,
            )
            for one in self.models
        ]

    def html(self) -> str:
        """The file."""
        environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
        template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
        return template.render(report=self, cell=cell, width=_WIDTH, height=_HEIGHT, margin=_MARGIN)


def cell(one: Estimate | None) -> str:
    """A share with its interval and the number of answers."""
    if one is None or not one.n:
        return "-"
    low, high = one.interval
    return f"{one.share:.0%} ({low:.0%} to {high:.0%}), n = {one.n}"


def _listed(names: Sequence[str]) -> str:
    return " and ".join((", ".join(names[:-1]), names[-1])) if len(names) > 1 else names[0]
