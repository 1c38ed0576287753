"""What admit.lua is given: a request, the limits and budgets it counts for, and its candidates with their bounds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from services.chassis import redis_keys
from services.gateway.config.plans import AtLimit, Rate
from services.gateway.keys.permissions import Caller


class Candidate(Protocol):
    """What admission needs to know of a candidate; `lumni.selector.v1.Candidate` fits."""

    @property
    def deployment(self) -> str: ...  # noqa: D102
    @property
    def model(self) -> str: ...  # noqa: D102
    @property
    def max_cost_nano_usd(self) -> int: ...  # noqa: D102


class NoCall:
    """The one candidate of a request that calls no model: it costs nothing."""

    deployment = ""
    model = ""
    max_cost_nano_usd = 0


NO_CALL = NoCall()


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long requests last and what they may cost, for all requests of a process.

    Args:
        billable_attempts: How many attempts of one request may be billed in full.
        timeout_s: The longest a request lasts.
        grace_s: After that, its reservation may be called abandoned: events need time to arrive.
        window_s: The span that requests and tokens are counted in.

    """

    billable_attempts: int
    timeout_s: float
    grace_s: float
    window_s: float


def admission(
    caller: Caller,
    request_id: str,
    tokens: int,
    candidates: Sequence[Candidate],
    bounds: Bounds,
    *,
    under_way: bool = True,
) -> dict[str, Any]:
    """The argument for one request of so many tokens; `seeds` are spends that Redis asked for.

    What is not under way costs nothing, so no budget is asked.
    """
    rates = [_rate(one.name, one.rate) for one in caller.subjects if one.rate.limited]
    # By model: the position of its limit among the rates, counted from 1 as Lua counts.
    positions: dict[str, int] = {}
    for model, rate in caller.plan.model_rates.items():
        if rate.limited:
            rates.append(_rate(redis_keys.model_subject(caller.key_id, model), rate, model=model))
            positions[model] = len(rates)
    return {
        "request": request_id,
        "under_way": under_way,
        "tokens": tokens,
        "rates": rates,
        "budgets": [
            {
                "subject": one.name,
                "period": one.budget.period,
                "limit": one.budget.limit_nano_usd,
                "soft": one.budget.soft,
            }
            for one in caller.subjects
            if one.budget is not None and under_way
        ],
        "candidates": [
            {"cost": one.max_cost_nano_usd * bounds.billable_attempts, "model": positions.get(one.model, 0)}
            for one in candidates
        ],
        "free_at_limit": caller.plan.at_limit is AtLimit.FREE,
        "window_ms": int(bounds.window_s * 1000),
        "lasts_ms": int(bounds.timeout_s * 1000),
        "grace_ms": int(bounds.grace_s * 1000),
        "seeds": {},
    }


def _rate(subject: str, rate: Rate, model: str = "") -> dict[str, Any]:
    return {"subject": subject, "rpm": rate.rpm, "tpm": rate.tpm, "parallel": rate.parallel, "model": model}
