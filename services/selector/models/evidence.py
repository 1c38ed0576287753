"""How far a published score is to be believed, by who published it and when."""

# Points of a percentage that a score of 50 % may lie off: whoever makes no model runs all models alike; a maker chooses
# prompts, tools and attempts. Of 46 cells that have both, the maker's score is higher by 5.3 on average.
INDEPENDENT = 2.0
SELF_REPORTED = 5.0
# Benchmarks leak into what models are trained on, and names go over to other weights: so much a year, up to so many.
A_YEAR = 1.0
MOST_YEARS = 3
# No score is surer than this.
LEAST = 0.5


def uncertainty(percent: float, published: str, read: str, *, independent: bool) -> float:
    """The standard error that a published score is taken to have, in percent.

    The same doubt moves a score of nearly 0 or 100 % by less, as it does an imputed one.

    Args:
        percent: The score.
        published: When it was, as YYYY-MM-DD or YYYY-MM; empty, which counts as long ago, when nobody says so.
        read: When the source was read, as YYYY-MM-DD.
        independent: Whether somebody measured it who makes no model.
    """
    years = _months(published, read) // 12 if published else MOST_YEARS
    points = (INDEPENDENT if independent else SELF_REPORTED) + A_YEAR * min(max(years, 0), MOST_YEARS)
    return max(LEAST, round(points * percent * (100 - percent) / 2500, 1))


def _months(begin: str, end: str) -> int:
    (first, month), (last, other) = ((int(day[:4]), int(day[5:7] or 1)) for day in (begin, end))
    return 12 * (last - first) + other - month
