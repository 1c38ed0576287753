"""Budgets: how much may be spent in which span of time.

Money is integer nano-USD. Days, weeks (from Monday) and months begin at midnight UTC.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum


class Period(StrEnum):
    """The span a budget is for."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    TOTAL = "total"


@dataclass(frozen=True, slots=True)
class Budget:
    """At most so much in each period; a caller is warned from `soft` of it on, 0 to 1."""

    limit_nano_usd: int
    period: Period = Period.MONTH
    soft: float = 0.8


def token(period: Period, when: datetime) -> str:
    """Name the period that a moment lies in.

    Where the names are needed by another clock, `limits/calendar.lua` and `PERIODS` in `ledger/store.py` put them
    together too; a test of each compares it with this.
    """
    day = when.astimezone(UTC)
    if period is Period.TOTAL:
        return "total"
    if period is Period.MONTH:
        return f"month:{day:%Y-%m}"
    if period is Period.WEEK:
        day -= timedelta(days=day.weekday())
    return f"{period}:{day:%Y-%m-%d}"
