"""Intervals that may be looked at at any time: confidence sequences for means and for differences of means.

The usual interval of 95 % holds if it is looked at once, at a moment that was fixed before. Whoever looks every day and
stops when it excludes zero is wrong far more often. The intervals here hold at all times at once: with probability
1 - alpha there is no moment at which the truth lies outside.

They are the asymptotic confidence sequences of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central
limit theory and asymptotic confidence sequences", Annals of Statistics 52(6), 2024 (arXiv 2103.06476): Robbins' normal
mixture (1970) with the variance that was measured. For normal data this is the mixture sequential probability ratio
test of Johari, Koomen, Pekelis and Walsh, "Always valid inference", Operations Research 70(3), 2022, read as an
interval. Chosen for costs and latencies have no bound, without which the empirical-Bernstein sequences of bounded data
cannot be had, and variances that differ by variant. It holds from a first look on that has seen enough for the central
limit theorem: nothing is said of fewer requests and units than below.

Requests of one user are alike, so the unit that was assigned counts, not the request: the variance of a mean is that of
a ratio of sums by unit (Deng, Knoblich and Lu, "Applying the delta method in metric analytics", KDD 2018). Time is
measured in information, the number of independent requests with which the mean were as sure as it is: it grows with
each unit, and hardly with the thousandth request of the same one.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

# Of all requests and units of a variant, before anything is said about it.
LEAST_REQUESTS = 100
LEAST_UNITS = 30
# The shares that a share above a bound is looked for at: so many, evenly between the bound and 1.
GRID = 50
# The information at which the interval is as narrow as the method allows; it holds at any other, too.
TIGHTEST = 250.0


@dataclass(frozen=True, slots=True)
class Moments:
    """What is known of one number in the requests of one variant.

    Attributes:
        units: How many units were assigned: users, keys or conversations.
        requests: How many requests they made.
        total: The sum of the number over all requests.
        squares: The sum of its squares.
        unit_counts: Over all units, the sum of the squares of how many requests each made.
        unit_totals: The same of the sums of the number.
        unit_products: The sum of the products of both.

    """

    units: int = 0
    requests: int = 0
    total: float = 0.0
    squares: float = 0.0
    unit_counts: float = 0.0
    unit_totals: float = 0.0
    unit_products: float = 0.0

    @property
    def enough(self) -> bool:
        """Whether anything can be said."""
        return self.requests >= LEAST_REQUESTS and self.units >= LEAST_UNITS

    @property
    def mean(self) -> float:
        """The mean over requests."""
        return self.total / self.requests if self.requests else 0.0

    @property
    def request_variance(self) -> float:
        """The variance of one request."""
        return max(self.squares / self.requests - self.mean**2, 0.0) if self.requests else 0.0

    def mean_variance(self, span: float = 0.0) -> float:
        """The variance of the mean.

        Args:
            span: How far apart two requests can be, where that is known. One request more may move the mean by the
                span divided by their number, and what has not happened yet is not taken for impossible.
        """
        between = self.unit_totals - 2 * self.mean * self.unit_products + self.mean**2 * self.unit_counts
        sampled = max(between, 0.0) / self.requests**2 * self.units / (self.units - 1)
        return sampled + (span / self.requests) ** 2


@dataclass(frozen=True, slots=True)
class Interval:
    """What the truth lies in, at this look and at all others."""

    low: float
    high: float


def moments(units: Iterable[Iterable[float]]) -> Moments:
    """The moments of a number, of which each unit has one for each of its requests."""
    listed = [list(one) for one in units]
    sums = [(len(one), math.fsum(one)) for one in listed if one]
    return Moments(
        units=len(sums),
        requests=sum(count for count, _ in sums),
        total=math.fsum(total for _, total in sums),
        squares=math.fsum(value * value for one in listed for value in one),
        unit_counts=float(sum(count * count for count, _ in sums)),
        unit_totals=math.fsum(total * total for _, total in sums),
        unit_products=math.fsum(count * total for count, total in sums),
    )


def of_mean(one: Moments, alpha: float, span: float = 0.0) -> Interval | None:
    """Where a variant's mean lies; None before enough is known."""
    if not one.enough:
        return None
    return _interval(one.mean, one.mean_variance(span), one.request_variance, alpha)


def of_difference(
    control: Moments, variant: Moments, alpha: float, *, times: float = 1.0, span: float = 0.0
) -> Interval | None:
    """Where the mean of a variant minus `times` that of the control lies; None before enough is known.

    Args:
        control: The numbers of the control.
        variant: Those of the variant.
        alpha: How probable it may be that the truth is ever outside.
        times: What the control's mean is multiplied by.
        span: As in `Moments.mean_variance`.
    """
    if not (control.enough and variant.enough):
        return None
    return _interval(
        variant.mean - times * control.mean,
        variant.mean_variance(span) + times**2 * control.mean_variance(span),
        variant.request_variance + times**2 * control.request_variance,
        alpha,
    )


def exceeds(one: Moments, most: float, alpha: float) -> bool:
    """Whether more than a share of the requests surely is so, of a number that is 0 or 1 for each request.

    A test by betting (Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", Journal of
    the Royal Statistical Society B 86(1), 2024): the likelihood of larger shares, on average over a grid, against that
    of `most`. While each request is so with at most that probability, whatever came before, this is a supermartingale,
    and by Ville's inequality ever exceeds 1 / alpha with probability alpha at most. So it needs no least number of
    requests or units, and requests of one unit may be alike.

    Args:
        one: The numbers.
        most: The bound, 0 to 1.
        alpha: How probable it may be that this is ever said of a share that is not above the bound.
    """
    so, others = one.total, one.requests - one.total
    if not 0 < most < 1:
        return most <= 0 < so
    bets = []
    for point in range(GRID):
        share = most + (1 - most) * (point + 0.5) / GRID
        bets.append(so * math.log(share / most) + others * math.log((1 - share) / (1 - most)))
    largest = max(bets)
    wealth = largest + math.log(math.fsum(math.exp(bet - largest) for bet in bets) / GRID)
    return wealth >= -math.log(alpha)


def _interval(estimate: float, variance: float, request_variance: float, alpha: float) -> Interval:
    if variance <= 0:
        return Interval(estimate, estimate)
    # With few requests the span is most of the variance, and the number of independent requests below one.
    information = max(request_variance / variance, 1.0)
    # rho squared, by which the mixture is narrowest where the information is TIGHTEST.
    mixture = (-2 * math.log(alpha) + math.log(1 - 2 * math.log(alpha))) / TIGHTEST
    grown = information * mixture + 1
    radius = math.sqrt(variance * grown / (grown - 1) * math.log(grown / alpha**2))
    return Interval(estimate - radius, estimate + radius)
