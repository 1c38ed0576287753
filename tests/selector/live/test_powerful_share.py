"""Where fast ends and powerful begins."""

from collections.abc import Iterable

import numpy as np
import pytest

from services.selector.live.powerful_share import WINDOW_S, PowerfulShares

NOW = 10 * WINDOW_S + 1800.0


VERSION = "v1"


def sent(
    powerful_shares: PowerfulShares,
    rates: Iterable[float],
    share: float,
    *,
    plan: str = "pro",
    every_s: float = 1.0,
) -> float:
    """The share of requests that was powerful, one after the other."""
    powerful = []
    for number, rate in enumerate(rates):
        at = NOW + every_s * number
        powerful_shares.observe(plan, VERSION, rate, at)
        powerful.append(
            powerful_shares.threshold(plan, VERSION, share, at).powerful(rate, f"{plan}/{number}")
        )
    return float(np.mean(powerful))


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("shape", [(2, 5), (5, 2), (0.5, 0.5)])
def test_the_share_of_powerful_requests_is_kept_whatever_the_rates_look_like(
    share: float, shape: tuple[float, float]
) -> None:
    rates = np.random.default_rng(1).beta(*shape, 4000)
    assert share == pytest.approx(sent(PowerfulShares(), rates, share, every_s=0.4), abs=0.03)


@pytest.mark.parametrize("count", [1, 5, 20, 50])
def test_the_share_is_kept_by_plans_with_few_requests_too(count: int) -> None:
    rng = np.random.default_rng(2)
    powerful_shares = PowerfulShares()
    shares = [
        sent(
            powerful_shares,
            rng.beta(0.7, 0.7, count),
            0.3,
            plan=f"plan {number}",
            every_s=1800 / count,
        )
        for number in range(3000 // count)
    ]
    assert 0.3 == pytest.approx(np.mean(shares), abs=0.09)


@pytest.mark.parametrize("rate", [0.5034, 0.5045])
@pytest.mark.parametrize("count", [20, 2000])
def test_a_rate_that_repeats_is_shared_out_too(rate: float, count: int) -> None:
    powerful_shares = PowerfulShares()
    shares = [
        sent(powerful_shares, [rate] * count, 0.3, plan=f"plan {number}", every_s=0.5)
        for number in range(2000 // count)
    ]
    assert 0.3 == pytest.approx(np.mean(shares), abs=0.06)


def test_no_share_sends_nothing_and_a_whole_one_everything() -> None:
    rates = np.linspace(0, 1, 50)
    assert 0.0 == sent(PowerfulShares(), rates, 0.0)
    assert 1.0 == sent(PowerfulShares(), rates, 1.0)
    assert 0.0 == PowerfulShares().threshold("pro", VERSION, 1.0, NOW).rate


def test_the_seed_alone_decides_among_equal_rates() -> None:
    threshold = PowerfulShares().threshold("new", VERSION, 0.3, NOW)
    middle = threshold.rate
    outcomes = {seed: threshold.powerful(middle, seed) for seed in map(str, range(50))}
    assert {True, False} == set(outcomes.values())
    assert all(threshold.powerful(middle, seed) == powerful for seed, powerful in outcomes.items())


def test_before_anything_was_seen_the_rates_count_as_the_classifiers_usual_ones() -> None:
    assert 0.67 == pytest.approx(PowerfulShares().threshold("new", VERSION, 0.3, NOW).rate, abs=0.02)
    assert 0.51 == pytest.approx(PowerfulShares().threshold("new", VERSION, 0.5, NOW).rate, abs=0.02)


def test_plans_do_not_share_their_rates_and_old_rates_fade() -> None:
    powerful_shares = PowerfulShares()
    for _ in range(1000):
        powerful_shares.observe("hard", VERSION, 0.9, NOW)
    assert powerful_shares.threshold("hard", VERSION, 0.5, NOW).rate > 0.85
    assert powerful_shares.threshold("easy", VERSION, 0.5, NOW).rate < 0.55
    for _ in range(1000):
        powerful_shares.observe("hard", VERSION, 0.1, NOW + WINDOW_S)
    assert powerful_shares.threshold("hard", VERSION, 0.7, NOW + 1.99 * WINDOW_S).rate < 0.2


def test_the_share_holds_for_each_version_of_the_weights_whatever_the_level_of_its_rates() -> None:
    rng = np.random.default_rng(3)
    powerful_shares = PowerfulShares()
    powerful: dict[str, list[bool]] = {"v1": [], "refitted": []}
    for number in range(6000):
        version = "refitted" if rng.random() < 0.1 else "v1"
        rate = rng.normal(0.25 if version == "v1" else 0.6, 0.07)
        at = NOW + 0.2 * number
        powerful_shares.observe("pro", version, rate, at)
        powerful[version].append(
            powerful_shares.threshold("pro", version, 0.3, at).powerful(rate, str(number))
        )
    assert 0.3 == pytest.approx(np.mean(powerful["v1"]), abs=0.03)
    assert 0.3 == pytest.approx(np.mean(powerful["refitted"]), abs=0.06)


def test_histograms_are_bounded_and_the_least_recently_used_one_is_dropped() -> None:
    powerful_shares = PowerfulShares(most=3)
    for number in range(3):
        powerful_shares.observe("pro", f"v{number}", 0.9, NOW)
    powerful_shares.threshold("pro", "v0", 0.3, NOW)
    powerful_shares.observe("pro", "v3", 0.9, NOW)
    assert {("pro", "v0"), ("pro", "v2"), ("pro", "v3")} == set(powerful_shares.histograms)


def test_a_histogram_without_use_is_forgotten_when_it_has_faded() -> None:
    powerful_shares = PowerfulShares()
    powerful_shares.observe("pro", "old", 0.9, NOW)
    powerful_shares.observe("pro", "new", 0.9, NOW + WINDOW_S)
    powerful_shares.forget(NOW + WINDOW_S)
    assert {("pro", "old"), ("pro", "new")} == set(powerful_shares.histograms)
    powerful_shares.forget(NOW + 2 * WINDOW_S)
    assert {("pro", "new")} == set(powerful_shares.histograms)
