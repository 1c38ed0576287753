import pytest

from services.gateway.limits.adaptive_limit import (
    BURST,
    IN_A_ROW,
    LEAST,
    LOWERED_MOST,
    ROOM,
    STALLED,
    AdaptiveLimit,
)

# Times above the target.
LITTLE, MUCH, STALL = 0.5, 2, 2 * STALLED


def observe(limit: AdaptiveLimit, excess: float, running: int, times: int = IN_A_ROW) -> int:
    for _ in range(times):
        limit.observe(excess, running)
    return limit.limit


def grown(most: int) -> AdaptiveLimit:
    limit = AdaptiveLimit(most)
    assert most == observe(limit, LITTLE, most, times=100 * IN_A_ROW)
    return limit


def test_a_burst_is_let_in_step_by_step() -> None:
    limit = AdaptiveLimit(512)
    assert BURST == limit.limit

    at_first = observe(limit, LITTLE, BURST)

    assert BURST < at_first < 2 * BURST
    assert 512 == observe(limit, LITTLE, 512, times=25 * IN_A_ROW)


def test_it_never_exceeds_the_most() -> None:
    assert 4 == AdaptiveLimit(4).limit
    assert 4 == observe(AdaptiveLimit(4), LITTLE, 4)


def test_too_much_work_lowers_it_below_what_runs() -> None:
    assert int(100 * LOWERED_MOST) == observe(grown(512), MUCH, 100)


def test_a_single_observation_changes_nothing() -> None:
    limit = grown(512)
    for _ in range(10):
        observe(limit, MUCH, 512, times=IN_A_ROW - 1)
        observe(limit, LITTLE, 512, times=1)

    assert 512 == limit.limit


def test_a_single_one_that_stalled_is_enough() -> None:
    assert int(400 * LOWERED_MOST) == observe(grown(512), STALL, 400, times=1)


def test_it_does_not_fall_faster_than_requests_end() -> None:
    assert int(400 * LOWERED_MOST) == observe(grown(512), MUCH, 400, times=100 * IN_A_ROW)


def test_it_never_falls_below_the_least() -> None:
    assert LEAST == observe(AdaptiveLimit(512), MUCH, 3)
    assert 4 == observe(AdaptiveLimit(4), MUCH, 3)


def test_little_work_raises_it_where_it_is_reached_up_to_the_most() -> None:
    limit = grown(100)
    lowered = observe(limit, MUCH, 50)

    assert lowered == observe(limit, LITTLE, lowered - 1)
    assert lowered < observe(limit, LITTLE, lowered)
    assert 100 == observe(limit, LITTLE, 1000, times=100 * IN_A_ROW)


@pytest.mark.parametrize(("running", "kept"), [(100, ROOM * 100), (400, 512), (LEAST, BURST)])
def test_room_that_is_not_used_is_given_up(running: int, kept: int) -> None:
    assert kept == observe(grown(512), LITTLE, running)


def test_an_idle_process_keeps_room_for_a_burst_and_a_lowered_limit_stays() -> None:
    limit = grown(512)

    assert BURST == limit.rest(0)
    lowered = observe(limit, MUCH, 40)
    assert lowered == limit.rest(0)
