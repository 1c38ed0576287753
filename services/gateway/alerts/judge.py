"""Which alerts fire, by what is known of the moment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.gateway.alerts import budget_burn
from services.gateway.alerts.budget_burn import Spending
from services.gateway.alerts.recent_requests import Shares
from services.gateway.config.alerts import Thresholds

# Deployments, or providers, that a message names.
NAMED = 5


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of the moment.

    Args:
        shares: Of the recent requests.
        down: Deployments whose circuit breaker has been open for long enough.
        providers_down: Providers of which every deployment is.
        flapping: Deployments whose circuit breaker opens and closes again and again.
        keys_expiring: Virtual keys that expire within a week.
        pool_share: The share of the ledger's connections to PostgreSQL that has been in use for long enough, 0 to 1.
        ledger_behind_s: The age of the oldest event that is not written.
        poison: Events that were set aside within the window.
        spending: What was spent of late; None while that is not known.

    """

    shares: Shares
    down: Sequence[str] = ()
    providers_down: Sequence[str] = ()
    flapping: Sequence[str] = ()
    keys_expiring: int = 0
    pool_share: float = 0.0
    ledger_behind_s: float = 0.0
    poison: int = 0
    spending: Spending | None = None


def firing(facts: Facts, limits: Thresholds) -> Mapping[str, str]:
    """The alerts that fire, by name, each with what there is to say; the names are those of docs/monitoring.md."""
    found = _of_requests(facts.shares, limits) if facts.shares.requests >= limits.least_requests else {}
    if facts.providers_down:
        found["LumniProviderDown"] = f"no deployment of {_names(facts.providers_down)} is called"
    if facts.down:
        found["LumniDeploymentDown"] = f"the circuit breakers of {_names(facts.down)} are open"
    if facts.flapping:
        found["LumniBreakerFlapping"] = (
            f"the circuit breakers of {_names(facts.flapping)} open and close again and again"
        )
    if facts.keys_expiring >= limits.least_keys_expiring:
        found["LumniKeysExpire"] = f"{facts.keys_expiring} virtual keys expire within 7 days"
    if facts.pool_share > limits.pool_share:
        found["LumniDatabasePoolFull"] = (
            f"{facts.pool_share:.0%} of the ledger's database connections are in use"
        )
    if facts.ledger_behind_s > limits.ledger_behind_s:
        found["LumniLedgerBehind"] = f"the ledger is {facts.ledger_behind_s:.0f} s behind"
    if facts.poison:
        found["LumniLedgerPoison"] = f"{facts.poison} events could not be written and were set aside"
    if facts.spending is not None and limits.budget_usd is not None:
        found |= budget_burn.firing(
            facts.spending, budget_usd=limits.budget_usd, fast=limits.burn_fast, slow=limits.burn_slow
        )
    return found


def _of_requests(shares: Shares, limits: Thresholds) -> dict[str, str]:
    found = {}
    failed = f"{shares.error_rate:.0%} of {shares.requests} requests failed"
    if shares.error_rate > limits.error_rate_critical:
        found["LumniErrorRateVeryHigh"] = failed
    if shares.error_rate > limits.error_rate:
        found["LumniErrorRateHigh"] = failed
    if shares.fallback_rate > limits.fallback_rate:
        found["LumniFallbacksHigh"] = f"{shares.fallback_rate:.0%} of the answers come from a fallback"
    if shares.answer_s > limits.answer_s:
        found["LumniResponseTimeHigh"] = f"5 % of the answers take longer than {shares.answer_s:.1f} s"
    return found


def _names(all_of: Sequence[str]) -> str:
    more = f" and {len(all_of) - NAMED} more" if len(all_of) > NAMED else ""
    return ", ".join(sorted(all_of)[:NAMED]) + more
