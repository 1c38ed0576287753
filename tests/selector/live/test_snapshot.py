"""Several replicas' reports on one deployment, merged."""

import numpy as np
import pytest

from services.selector.live import snapshot
from services.selector.live.snapshot import Headroom, Report
from tests.selector.fleets import deployment, selector

NOW = 1000.0


def merged(*replicas: list[Report], **about: int) -> snapshot.Snapshot:
    table = selector([deployment("one", **about), deployment("two")]).table
    return snapshot.merge(table, replicas, NOW)


def test_without_any_executor_everything_is_taken_to_work() -> None:
    seen = merged()
    assert not seen.informed
    assert (seen.callable & seen.closed & seen.in_quota).all()


def test_a_deployment_is_callable_where_any_replica_can_call_it_and_unknown_ones_are_not() -> None:
    seen = merged([Report("one", callable=False)], [Report("one")], [Report("never configured here")])
    assert [True, False] == seen.callable.tolist()


@pytest.mark.parametrize(
    ("broken", "closed"), [([False, False], True), ([True, False], True), ([True, True], False)]
)
def test_a_breaker_is_open_when_it_is_in_most_replicas(broken: list[bool], closed: bool) -> None:
    seen = merged(*([Report("one", breaker_open=one)] for one in broken))
    assert closed == seen.closed[0]


def test_the_scarcest_headroom_counts_and_a_window_that_is_over_is_whole_again() -> None:
    seen = merged(
        [Report("one", headroom=(Headroom("rpm", 10, 8, 1030.0), Headroom("rpd", 100, 0, 990.0)))],
        [Report("one", headroom=(Headroom("rpm", 10, 2, 1030.0),))],
    )
    assert 0.2 == pytest.approx(seen.availability[0])
    assert seen.in_quota[0]
    assert 100 == seen.requests_left[0]
    used_up = merged([Report("one", headroom=(Headroom("tpd", 100, 0, 5000.0),))])
    assert not used_up.in_quota[0]
    assert 5000.0 == used_up.resets_unix_s[0]


def test_errors_places_and_a_half_open_breaker_lower_the_availability() -> None:
    assert 0.5 == merged([Report("one", error_rate=0.5)]).availability[0]
    assert 0.5 == merged([Report("one", half_open=True)]).availability[0]
    assert 0.25 == merged([Report("one", in_flight=3)], max_parallel_requests=4).availability[0]


def test_latency_is_the_mean_of_the_replicas_that_called() -> None:
    seen = merged([Report("one", latency_ms=100)], [Report("one", latency_ms=300)], [Report("one")])
    assert np.allclose([200.0, snapshot.UNKNOWN_LATENCY_MS], seen.latency_ms)
