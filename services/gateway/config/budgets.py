"""Budgets: how much may be spent in which span of time.

Money is integer nano-USD. Days, weeks (from Monday) and months begin at midnight UTC. Redis computes with
doubles, which are exact up to `LARGEST_USD`.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from enum import StrEnum

NANO = 1_000_000_000
LARGEST_USD = 9_000_000


class Period(StrEnum):
    """The span a budget is for."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    TOTAL = "total"


PERIODS = tuple(Period)


@dataclass(frozen=True, slots=True)
class Budget:
    """At most so much in each period; a caller is warned from `soft` of it on, 0 to 1."""

    limit_nano_usd: int
    period: Period = Period.MONTH
    soft: float = 0.8


def token(period: Period, when: datetime) -> str:
    """Name the period that a moment lies in, as Redis and PostgreSQL name it too."""
    day = when.astimezone(UTC)
    if period is Period.TOTAL:
        return "total"
    if period is Period.MONTH:
        return f"month:{day:%Y-%m}"
    if period is Period.WEEK:
        day -= timedelta(days=day.weekday())
    return f"{period}:{day:%Y-%m-%d}"


def nano(usd: Decimal | float | str | int) -> int:
    """US dollars as nano-USD, exact for a text or a Decimal.

    Raises:
        ValueError: no amount from 0 to `LARGEST_USD`, or finer than a nano-dollar.
    """
    try:
        amount = Decimal(str(usd)) * NANO
    except InvalidOperation:
        amount = Decimal("nan")
    if (
        not amount.is_finite()
        or not 0 <= amount <= LARGEST_USD * NANO
        or amount != amount.to_integral_value()
    ):
        raise ValueError(f"expected US dollars from 0 to {LARGEST_USD:,}, with at most nine decimals")
    return int(amount)


def usd(nano_usd: int) -> float:
    """Nano-USD as US dollars, for people and JSON."""
    return nano_usd / NANO
