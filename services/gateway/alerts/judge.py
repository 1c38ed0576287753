"""Which alerts fire, by what is known of the moment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.gateway.alerts import budget_burn
from services.gateway.alerts.budget_burn import Spending
from services.gateway.alerts.recent_requests import Shares
from services.gateway.config.alerts import Thresholds

# Deployments that a message names.
NAMED = 5


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of the moment.

    Args:
        shares: Of the recent requests.
        down: Deployments whose circuit breaker has been open for long enough.
        ledger_behind_s: The age of the oldest event that is not written.
        poison: Events that were set aside within the window.
        spending: What was spent of late; None while that is not known.

    """

    shares: Shares
    down: Sequence[str] = ()
    ledger_behind_s: float = 0.0
    poison: int = 0
    spending: Spending | None = None


def firing(facts: Facts, limits: Thresholds) -> Mapping[str, str]:
    """The alerts that fire, by name, each with what there is to say; the names are those of docs/monitoring.md."""
    shares, found = facts.shares, {}
    if shares.requests >= limits.least_requests:
        if shares.error_rate > limits.error_rate:
            found["LumniErrorRateHigh"] = f"{shares.error_rate:.0%} of {shares.requests} requests failed"
        if shares.fallback_rate > limits.fallback_rate:
            found["LumniFallbacksHigh"] = f"{shares.fallback_rate:.0%} of the answers come from a fallback"
        if shares.answer_s > limits.answer_s:
            found["LumniResponseTimeHigh"] = f"5 % of the answers take longer than {shares.answer_s:.1f} s"
    if facts.down:
        names = ", ".join(sorted(facts.down)[:NAMED])
        more = f" and {len(facts.down) - NAMED} more" if len(facts.down) > NAMED else ""
        found["LumniDeploymentDown"] = f"the circuit breakers of {names}{more} are open"
    if facts.ledger_behind_s > limits.ledger_behind_s:
        found["LumniLedgerBehind"] = f"the ledger is {facts.ledger_behind_s:.0f} s behind"
    if facts.poison:
        found["LumniLedgerPoison"] = f"{facts.poison} events could not be written and were set aside"
    if facts.spending is not None and limits.budget_usd is not None:
        found |= budget_burn.firing(
            facts.spending, budget_usd=limits.budget_usd, fast=limits.burn_fast, slow=limits.burn_slow
        )
    return found
