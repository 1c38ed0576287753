"""Which alerts fire."""

import pytest

from services.gateway.alerts import judge, recent_requests
from services.gateway.alerts.budget_burn import Spending, Spent
from services.gateway.alerts.judge import Facts
from services.gateway.alerts.recent_requests import RecentRequests, Shares
from services.gateway.config.alerts import Thresholds

LIMITS = Thresholds()
QUIET = Shares(requests=100, error_rate=0.0, fallback_rate=0.0, answer_s=1.0)


@pytest.mark.parametrize(
    ("facts", "names"),
    [
        (Facts(QUIET), []),
        (
            Facts(Shares(100, 0.06, 0.6, 11.0)),
            ["LumniErrorRateHigh", "LumniFallbacksHigh", "LumniResponseTimeHigh"],
        ),
        (Facts(Shares(100, 0.1, 0.0, 1.0)), ["LumniErrorRateHigh"]),
        (Facts(Shares(100, 0.11, 0.0, 1.0)), ["LumniErrorRateVeryHigh", "LumniErrorRateHigh"]),
        # At its threshold nothing fires, and of too few requests nothing is told.
        (Facts(Shares(100, 0.05, 0.5, 10.0)), []),
        (Facts(Shares(19, 1.0, 1.0, 60.0)), []),
        (Facts(QUIET, down=["a"]), ["LumniDeploymentDown"]),
        (Facts(QUIET, down=["a"], providers_down=["p"]), ["LumniProviderDown", "LumniDeploymentDown"]),
        (Facts(QUIET, flapping=["a"]), ["LumniBreakerFlapping"]),
        (Facts(QUIET, keys_expiring=1), ["LumniKeysExpire"]),
        (Facts(QUIET, pool_share=0.8), []),
        (Facts(QUIET, pool_share=0.81), ["LumniDatabasePoolFull"]),
        (Facts(QUIET, ledger_behind_s=61), ["LumniLedgerBehind"]),
        (Facts(QUIET, poison=1), ["LumniLedgerPoison"]),
    ],
)
def test_each_alert_has_its_threshold(facts: Facts, names: list[str]) -> None:
    assert names == list(judge.firing(facts, LIMITS))


MONEY = Thresholds(budget_usd=720)


def spent(minutes_5: float, hour: float, minutes_30: float, hours_6: float) -> Facts:
    """What was spent in each window, in USD; the budget allows 1 USD an hour."""
    return Facts(
        QUIET,
        spending=Spending(
            fast=(Spent(int(minutes_5 * 1e9), 300), Spent(int(hour * 1e9), 3600)),
            slow=(Spent(int(minutes_30 * 1e9), 1800), Spent(int(hours_6 * 1e9), 6 * 3600)),
        ),
    )


@pytest.mark.parametrize(
    ("facts", "names"),
    [
        (spent(1.3, 15, 15, 15), ["LumniBudgetBurnFast"]),
        (spent(1.3, 15, 15, 37), ["LumniBudgetBurnFast", "LumniBudgetBurnSlow"]),
        (spent(0, 3.1, 3.1, 37), ["LumniBudgetBurnSlow"]),
        # It is over, or only a moment.
        (spent(1.1, 15, 2.9, 37), []),
        (spent(1.3, 14.3, 14.3, 35.9), []),
    ],
)
def test_a_budget_burns_in_two_windows_or_not_at_all(facts: Facts, names: list[str]) -> None:
    assert names == list(judge.firing(facts, MONEY))
    assert not judge.firing(facts, LIMITS)


def test_the_message_says_what_was_spent() -> None:
    text = judge.firing(spent(2, 20, 20, 20), MONEY)["LumniBudgetBurnFast"]

    assert "20.00 USD were spent in 1.0 h, 20 times what 720.00 USD in 30 days allow" == text


def test_a_message_names_only_some_of_many_deployments() -> None:
    text = judge.firing(Facts(QUIET, down=[f"d{number:03}" for number in range(300)]), LIMITS)

    assert (
        "the circuit breakers of d000, d001, d002, d003, d004 and 295 more are open"
        == text["LumniDeploymentDown"]
    )


def test_a_request_counts_once_by_its_end() -> None:
    recent = RecentRequests(window_s=60)
    recent.add("answered", "a", 1.0, 0, failed=False)
    recent.add("retried", "a", 1.0, 0, failed=True)
    recent.add("retried", "a", 2.0, 1, failed=False)
    recent.add("fell back", "a", 1.0, 0, failed=True)
    recent.add("fell back", "b", 3.0, 1, failed=False)
    recent.add("failed", "a", 1.0, 0, failed=True)
    # Delivered again.
    recent.add("fell back", "a", 1.0, 2, failed=True)
    recent.add("answered", "a", 9.0, 2, failed=False)

    assert Shares(requests=4, error_rate=0.25, fallback_rate=1 / 3, answer_s=2.0) == recent.shares(3)
    assert Shares(requests=0, error_rate=0.0, fallback_rate=0.0, answer_s=0.0) == recent.shares(61.5)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_requests, "MOST", 10)
    recent = RecentRequests(window_s=60)
    for number in range(100):
        recent.add(str(number), "a", 1.0, number, failed=False)

    assert 10 == recent.shares(99).requests
