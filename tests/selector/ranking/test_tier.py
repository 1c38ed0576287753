"""Which tier a request gets, by whom it is decided."""

import pytest

from services.selector.live.powerful_share import Threshold
from services.selector.ranking.tier import Judged, decide

HARD = Judged(0.8, "v1", powerful=True)
EASY = Judged(0.3, "v1", powerful=False)
UNJUDGED = Judged(0.5, "", powerful=None)
# All above 0.25 are powerful.
SHARE = Threshold(49, 0.0)


@pytest.mark.parametrize(
    ("judged", "forced", "fixed", "share", "expected"),
    [
        (HARD, None, None, None, (True, 0.0)),
        (EASY, None, None, None, (False, 0.0)),
        (EASY, None, 0.2, None, (True, 0.2)),
        (HARD, None, 0.9, None, (False, 0.9)),
        (EASY, None, None, SHARE, (True, 0.25)),
        (HARD, None, 0.9, SHARE, (True, 0.25)),
        (HARD, False, None, None, (False, 0.5)),
        (EASY, True, 0.9, None, (True, 0.9)),
        (UNJUDGED, None, None, None, (False, 0.5)),
        (UNJUDGED, None, 0.1, None, (False, 0.1)),
        (UNJUDGED, None, 0.0, None, (True, 0.0)),
        (UNJUDGED, True, None, None, (True, 0.5)),
    ],
)
def test_a_policys_tier_comes_first_then_a_share_then_a_threshold_then_the_classifiers_own(
    judged: Judged,
    forced: bool | None,
    fixed: float | None,
    share: Threshold | None,
    expected: tuple[bool, float],
) -> None:
    assert expected == decide(judged, "r1", forced=forced, fixed=fixed, share=share)
