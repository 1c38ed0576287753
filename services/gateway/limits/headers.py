"""The headers of limits and budgets: OpenAI's `x-ratelimit-*`, and a warning when a budget runs low."""

from collections.abc import Iterable, Mapping
from typing import Any, TypedDict


class Allowance(TypedDict):
    """What a subject may do in the current window, and how much of that is left."""

    limit: int
    remaining: int


def rate_limits(requests: Allowance | None, tokens: Allowance | None, reset_ms: float) -> dict[str, str]:
    """The tightest limits, and when they are whole again."""
    shown: dict[str, str] = {}
    for kind, tightest in (("requests", requests), ("tokens", tokens)):
        if tightest:
            shown[f"x-ratelimit-limit-{kind}"] = str(tightest["limit"])
            shown[f"x-ratelimit-remaining-{kind}"] = str(tightest["remaining"])
            shown[f"x-ratelimit-reset-{kind}"] = f"{reset_ms / 1000:g}s"
    return shown


def budget_warning(budgets: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Budgets beyond their soft limit: whose, of which period, and the share that is used."""
    texts = [
        f"{one['subject'].partition(':')[0]} {one['period']} {one['used'] * 100:.0f}%" for one in budgets
    ]
    return {"x-lumni-budget-warning": ", ".join(texts)} if texts else {}
