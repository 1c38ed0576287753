"""When operators are told that something is wrong: the section `alerts` of `config/lumni.yaml`."""

from dataclasses import dataclass
from pathlib import Path

from services.chassis import lumni_config, money

LONGEST_S = 86_400
LEAST_USD = 0.01


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From where on each alert fires; the shares and the time are of the requests within `window_s`."""

    # Seconds between two looks, and until what the webhook did not take is tried again.
    every_s: float = 15.0
    window_s: int = 300
    # Of fewer requests in the window no share is told.
    least_requests: int = 20
    error_rate: float = 0.05
    # The share that is worth waking somebody for.
    error_rate_critical: float = 0.10
    fallback_rate: float = 0.5
    answer_s: float = 10.0
    # For so long all breakers of a provider, or the one of a deployment, are open.
    deployment_down_s: int = 300
    # Breakers that open or close more often than that within so many seconds.
    flapping_changes: int = 6
    flapping_window_s: int = 1800
    # Virtual keys that expire within a week.
    least_keys_expiring: int = 1
    # The share of the ledger's connections to PostgreSQL that is in use in every look, for so long.
    pool_share: float = 0.8
    pool_full_s: int = 300
    ledger_behind_s: int = 60
    # What may be spent in 30 days, in USD; without it nothing is told of money. Each speed is in times of that which
    # spends it in exactly 30 days: 2 % of it within an hour, 5 % within six.
    budget_usd: float | None = None
    burn_fast: float = 14.4
    burn_slow: float = 6.0
    # Seconds between two looks at what was spent, for which PostgreSQL adds up an hour's attempts.
    spending_every_s: float = 60.0


def load(path: Path) -> Thresholds:
    """Read the thresholds; what the file leaves out is as above.

    Raises:
        Mistakes: every mistake, with its line.
    """
    root = lumni_config.load(path)
    section = root.section("alerts")
    usual = Thresholds()
    thresholds = Thresholds(
        every_s=section.number("every_s", usual.every_s, low=1, high=LONGEST_S),
        window_s=section.integer("window_s", usual.window_s, low=10, high=LONGEST_S),
        least_requests=section.integer("least_requests", usual.least_requests, low=1),
        error_rate=section.number("error_rate", usual.error_rate, low=0, high=1),
        error_rate_critical=section.number("error_rate_critical", usual.error_rate_critical, low=0, high=1),
        fallback_rate=section.number("fallback_rate", usual.fallback_rate, low=0, high=1),
        answer_s=section.number("answer_s", usual.answer_s, low=0),
        deployment_down_s=section.integer(
            "deployment_down_s", usual.deployment_down_s, low=0, high=LONGEST_S
        ),
        flapping_changes=section.integer("flapping_changes", usual.flapping_changes, low=1, high=1000),
        flapping_window_s=section.integer(
            "flapping_window_s", usual.flapping_window_s, low=60, high=LONGEST_S
        ),
        least_keys_expiring=section.integer("least_keys_expiring", usual.least_keys_expiring, low=1),
        pool_share=section.number("pool_share", usual.pool_share, low=0, high=1),
        pool_full_s=section.integer("pool_full_s", usual.pool_full_s, low=0, high=LONGEST_S),
        ledger_behind_s=section.integer("ledger_behind_s", usual.ledger_behind_s, low=1, high=LONGEST_S),
        budget_usd=section.number("budget_usd", usual.budget_usd, low=LEAST_USD, high=money.LARGEST_USD),
        burn_fast=section.number("burn_fast", usual.burn_fast, low=1),
        burn_slow=section.number("burn_slow", usual.burn_slow, low=1),
        spending_every_s=section.number("spending_every_s", usual.spending_every_s, low=1, high=LONGEST_S),
    )
    root.finish()
    return thresholds
