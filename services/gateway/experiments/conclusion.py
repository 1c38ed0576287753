"""What the numbers of an experiment say: intervals, the sentence that a person may conclude, and variants to stop."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from services.gateway.experiments import statistics
from services.gateway.experiments.statistics import Interval, Moments

# The share of experiments in which anything that is concluded or stopped may be wrong.
ALPHA = 0.05
# What is decided about each variant but the control: the goal, and two guardrails.
DECISIONS = 3


@dataclass(frozen=True, slots=True)
class Metric:
    """A number that each request has.

    Attributes:
        name: What it is called in definitions and results.
        better: What a variant does that is better, as in "b costs less than a".
        unit: Of the number, as people read it.
        scale: What it is multiplied by for that.
        less: Whether less is better.
        span: How far apart two requests can be; 0 where that has no bound.

    """

    name: str
    better: str
    unit: str
    scale: float = 1.0
    less: bool = True
    span: float = 0.0


COST = Metric("cost_usd", "costs less", "USD a request")
LATENCY = Metric("latency_ms", "is faster", "ms a request")
ERRORS = Metric("error_share", "fails less often", "% of the requests", scale=100, span=1)
FEEDBACK = Metric("feedback", "pleases more", "points of feedback", less=False, span=20)
# Of a guardrail alone: requests that take longer than it says.
SLOW = Metric("slow_share", "is slow less often", "% of the requests", scale=100, span=1)
CACHED = Metric(
    "cached_share",
    "is answered from the cache more often",
    "% of the requests",
    scale=100,
    less=False,
    span=1,
)
METRICS: Mapping[str, Metric] = {one.name: one for one in (COST, LATENCY, ERRORS, FEEDBACK, CACHED, SLOW)}
GOALS = tuple(name for name in METRICS if name != SLOW.name)
# How many may be slower than a 90th percentile.
SLOWEST = 0.1

# What was measured: by variant, then by metric.
Measured = Mapping[str, Mapping[str, Moments]]


@dataclass(frozen=True, slots=True)
class Guardrails:
    """How bad a variant may be before it is stopped; None is as bad as it likes.

    Increases are compared with the control, and say nothing before both have enough requests of enough units. The two
    others are bounds of the variant alone, which count from its first request on, however few its units are.
    """

    # Of the share of requests that fail, 0 to 1.
    error_increase: float | None = 0.05
    # Of the control's cost: 0.5 is half as much again.
    cost_increase: float | None = None
    # Of the control's latency, in the same way.
    latency_increase: float | None = None
    # The share of requests that may fail, 0 to 1.
    error_most: float | None = None
    # What nine requests of ten may take at most, in milliseconds.
    latency_p90_ms: float | None = None

    @property
    def more(self) -> int:
        """How many are decided on beside the two that are in DECISIONS."""
        return sum(one is not None for one in (self.latency_increase, self.error_most, self.latency_p90_ms))


NO_MORE = Guardrails()


@dataclass(frozen=True, slots=True)
class Finding:
    """One metric of one variant: its mean, and how it differs from the control's; None before enough is known."""

    mean: float
    interval: Interval | None
    difference: Interval | None


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What a person may conclude at this moment; without a winner there is nothing yet."""

    winner: str
    sentence: str


def level(variants: int, rules: Guardrails = NO_MORE) -> float:
    """The alpha of each interval, so that all decisions about an experiment are wrong with ALPHA at most."""
    return ALPHA / ((DECISIONS + rules.more) * (variants - 1))


def findings(
    variants: Sequence[str], measured: Measured, rules: Guardrails = NO_MORE
) -> dict[str, dict[str, Finding]]:
    """All metrics of all variants; the first variant is the control."""
    alpha = level(len(variants), rules)
    control = measured[variants[0]]
    return {
        variant: {
            metric.name: Finding(
                measured[variant][metric.name].mean,
                statistics.of_mean(measured[variant][metric.name], alpha, metric.span),
                None
                if variant == variants[0]
                else statistics.of_difference(
                    control[metric.name], measured[variant][metric.name], alpha, span=metric.span
                ),
            )
            for metric in METRICS.values()
        }
        for variant in variants
    }


def concluded(
    variants: Sequence[str], goal: Metric, measured: Measured, rules: Guardrails = NO_MORE
) -> Conclusion:
    """What may be said of the goal: who is better than the control, or that the control is better than all others."""
    control, *others = variants
    found = findings(variants, measured, rules)
    differences = {
        variant: one for variant in others if (one := found[variant][goal.name].difference) is not None
    }
    if not differences:
        return Conclusion(
            "",
            f"Too little is known: a variant says something from {statistics.LEAST_REQUESTS} requests of "
            f"{statistics.LEAST_UNITS} users, keys or conversations on.",
        )
    better = [variant for variant, one in differences.items() if _is_better(one, goal)]
    worse = [
        variant for variant, one in differences.items() if _is_better(Interval(-one.high, -one.low), goal)
    ]
    if better:
        best = (min if goal.less else max)(better, key=lambda variant: found[variant][goal.name].mean)
        return Conclusion(
            best, f"{best} {goal.better} than {control}: {_shown(differences[best], goal)}. {SURE}"
        )
    if len(worse) == len(others):
        nearest = min(worse, key=lambda variant: abs(differences[variant].low + differences[variant].high))
        others_are = f"all others, of which {nearest} is nearest" if len(others) > 1 else nearest
        return Conclusion(
            control,
            f"{control} {goal.better} than {others_are}: {_shown(differences[nearest], goal)}. {SURE}",
        )
    shown = "; ".join(f"{name} - {control}: {_range(one, goal)}" for name, one in differences.items())
    return Conclusion("", f"No difference is shown yet ({shown}).")


def breach(
    rules: Guardrails, control: Mapping[str, Moments], variant: Mapping[str, Moments], alpha: float
) -> str:
    """Why a variant must be stopped; empty when it need not."""
    if (most := rules.error_increase) is not None:
        errors = statistics.of_difference(control[ERRORS.name], variant[ERRORS.name], alpha, span=ERRORS.span)
        if errors is not None and errors.low > most:
            return (
                f"it fails more often than the control by at least {errors.low * 100:.1f} % of the requests"
            )
    if (more := rules.cost_increase) is not None:
        costs = statistics.of_difference(control[COST.name], variant[COST.name], alpha, times=1 + more)
        if costs is not None and costs.low > 0:
            return f"it costs more than the control by over {more * 100:g} % of that one's cost"
    if (longer := rules.latency_increase) is not None:
        waits = statistics.of_difference(
            control[LATENCY.name], variant[LATENCY.name], alpha, times=1 + longer
        )
        if waits is not None and waits.low > 0:
            return f"it is slower than the control by over {longer * 100:g} % of that one's latency"
    return _beyond(rules, variant, alpha)


def _beyond(rules: Guardrails, variant: Mapping[str, Moments], alpha: float) -> str:
    """Why a variant must be stopped by a bound of its own; empty when it need not."""
    failed, slow = variant[ERRORS.name], variant[SLOW.name]
    if (most := rules.error_most) is not None and statistics.exceeds(failed, most, alpha):
        return f"more than {most * 100:g} % of its requests fail: {failed.total:.0f} of {failed.requests}"
    if rules.latency_p90_ms is not None and statistics.exceeds(slow, SLOWEST, alpha):
        return (
            f"more than one of ten requests takes over {rules.latency_p90_ms:g} ms: {slow.total:.0f} of "
            f"{slow.requests}"
        )
    return ""


SURE = f"Whenever one looks, all that is concluded is wrong in at most {ALPHA * 100:g} of 100 experiments."


def _is_better(difference: Interval, goal: Metric) -> bool:
    return difference.high < 0 if goal.less else difference.low > 0


def _shown(difference: Interval, goal: Metric) -> str:
    """How large a difference is that excludes zero, without its sign."""
    low, high = sorted(abs(end) * goal.scale for end in (difference.low, difference.high))
    return f"{_digits(low)} to {_digits(high)} {goal.unit}"


def _range(difference: Interval, goal: Metric) -> str:
    return f"{_digits(difference.low * goal.scale)} to {_digits(difference.high * goal.scale)} {goal.unit}"


def _digits(number: float) -> str:
    """Three digits that count, without an exponent."""
    return f"{Decimal(f'{number:.3g}'):f}"
