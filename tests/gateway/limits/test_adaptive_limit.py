from services.gateway.limits.adaptive_limit import (
    IN_A_ROW,
    LEAST,
    LOWERED_MOST,
    STALLED_S,
    TARGET_S,
    AdaptiveLimit,
)


def observe(limit: AdaptiveLimit, round_trip_s: float, running: int, times: int = IN_A_ROW) -> int:
    for _ in range(times):
        limit.observe(round_trip_s, running)
    return limit.limit


def test_it_begins_with_the_most() -> None:
    assert 512 == observe(AdaptiveLimit(512), TARGET_S / 2, 512)


def test_slow_round_trips_lower_it_below_what_runs() -> None:
    limit = AdaptiveLimit(512)

    assert int(100 * LOWERED_MOST) == observe(limit, 2 * TARGET_S, 100)


def test_a_single_slow_round_trip_changes_nothing() -> None:
    limit = AdaptiveLimit(512)
    for _ in range(10):
        observe(limit, 2 * TARGET_S, 100, times=IN_A_ROW - 1)
        observe(limit, 0, 100, times=1)

    assert 512 == limit.limit


def test_a_single_one_that_stalled_is_enough() -> None:
    limit = AdaptiveLimit(512)

    assert int(400 * LOWERED_MOST) == observe(limit, 2 * STALLED_S, 400, times=1)


def test_it_does_not_fall_faster_than_requests_end() -> None:
    limit = AdaptiveLimit(512)

    assert int(400 * LOWERED_MOST) == observe(limit, 2 * TARGET_S, 400, times=100 * IN_A_ROW)


def test_it_never_falls_below_the_least() -> None:
    assert LEAST == observe(AdaptiveLimit(512), 2 * TARGET_S, 3)
    assert 4 == observe(AdaptiveLimit(4), 2 * TARGET_S, 3)


def test_quick_round_trips_raise_it_where_it_is_reached_up_to_the_most() -> None:
    limit = AdaptiveLimit(100)
    lowered = observe(limit, 2 * TARGET_S, 50)

    assert lowered == observe(limit, 0, lowered - 1)
    assert lowered < observe(limit, 0, lowered)
    assert 100 == observe(limit, 0, 1000, times=100 * IN_A_ROW)
