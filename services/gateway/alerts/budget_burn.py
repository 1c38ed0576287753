"""How fast the budget of 30 days is spent: 1 is the speed that spends it in exactly 30 days."""

from collections.abc import Mapping
from dataclasses import dataclass

from services.chassis import money

PERIOD_S = 30 * 86_400


@dataclass(frozen=True, slots=True)
class Spent:
    """What was spent within a window that ends now."""

    nano_usd: int
    window_s: float


@dataclass(frozen=True, slots=True)
class Spending:
    """What was spent of late. Of each pair the long window says how much it is, the short one that it goes on."""

    # 5 minutes and an hour.
    fast: tuple[Spent, Spent]
    # 30 minutes and some six hours.
    slow: tuple[Spent, Spent]


def firing(spending: Spending, *, budget_usd: float, fast: float, slow: float) -> Mapping[str, str]:
    """The alerts of the budget that fire, by name, each with what there is to say.

    Args:
        spending: What was spent of late.
        budget_usd: What may be spent in 30 days, in USD, more than 0.
        fast: The speed from where on `LumniBudgetBurnFast` fires, in both of its windows.
        slow: The same of `LumniBudgetBurnSlow`.
    """
    found = {}
    for name, windows, limit in (
        ("LumniBudgetBurnFast", spending.fast, fast),
        ("LumniBudgetBurnSlow", spending.slow, slow),
    ):
        long = windows[1]
        if min(_speed(one, budget_usd) for one in windows) > limit:
            found[name] = (
                f"{money.usd(long.nano_usd):,.2f} USD were spent in {long.window_s / 3600:.1f} h, "
                f"{_speed(long, budget_usd):.0f} times what {budget_usd:,.2f} USD in 30 days allow"
            )
    return found


def _speed(spent: Spent, budget_usd: float) -> float:
    return money.usd(spent.nano_usd) / spent.window_s * PERIOD_S / budget_usd
