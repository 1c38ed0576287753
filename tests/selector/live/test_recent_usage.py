"""What a tenant used of late."""

import numpy as np
import pytest

from services.selector.live import recent_usage
from services.selector.live.recent_usage import RecentUsage
from tests.selector.fleets import deployment, selector

NOW = 100_000.0
TABLE = selector([deployment("one@1"), deployment("one@2"), deployment("two")]).table


def test_a_model_that_was_used_much_counts_less_for_this_tenant_only() -> None:
    recent = RecentUsage(3600, spreads=True)
    for _ in range(30):
        recent.observe("mine", "one", NOW)
    # 30 of 30 requests, and 10 that are assumed elsewhere.
    assert np.allclose([0.25, 0.25, 1.0], recent.values("mine", TABLE, NOW + 1))
    assert 1.0 == recent.values("other", TABLE, NOW)


def test_usage_may_be_kept_together_instead() -> None:
    recent = RecentUsage(3600, spreads=False)
    recent.observe("mine", "two", NOW)
    values = recent.values("mine", TABLE, NOW + 1)
    assert isinstance(values, np.ndarray)
    assert values[2] > values[0] == 0.0


def test_a_changed_configuration_holds_at_once_and_the_same_one_changes_nothing() -> None:
    recent = RecentUsage(3600, spreads=True)
    recent.observe("mine", "two", NOW)
    recent.follow(3600, spreads=True)
    assert "mine" in recent.tenants
    recent.follow(600, spreads=False)
    assert not recent.tenants
    assert 0.0 == recent.values("mine", TABLE, NOW)
    assert recent.bucket(NOW) == NOW // 100


def test_what_lies_behind_the_window_is_forgotten() -> None:
    recent = RecentUsage(3600, spreads=True)
    recent.observe("mine", "one", NOW)
    recent.observe("gone", "one", NOW)
    recent.observe("mine", "two", NOW + 4000)
    values = recent.values("mine", TABLE, NOW + 4000)
    assert isinstance(values, np.ndarray)
    assert values[0] == 1.0
    assert values[2] == pytest.approx(1 - 1 / 11)
    assert "gone" not in recent.tenants


def test_of_many_tenants_those_with_the_latest_requests_are_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recent_usage, "MOST_TENANTS", 3)
    recent = RecentUsage(3600, spreads=True)
    for name in ("a", "b", "c", "a", "d"):
        recent.observe(name, "one", NOW)

    assert ["c", "a", "d"] == list(recent.tenants)
