"""How far published scores are believed."""

from services.selector.models.catalog import Entry, Score
from services.selector.models.evidence import uncertainty

READ = "2026-11-22"


def test_a_score_is_the_surer_the_newer_it_is_and_the_less_its_publisher_gains() -> None:
    independent = [
        uncertainty(50, day, READ, independent=True) for day in ("2026-05-01", "2025-06", "2019-01", "")
    ]
    makers = [
        uncertainty(50, day, READ, independent=False) for day in ("2026-05-01", "2025-06", "2019-01", "")
    ]

    assert [2, 3, 5, 5] == independent
    assert [5, 6, 8, 8] == makers
    # A page that was read before the day it bears is as good as new.
    assert 2 == uncertainty(50, "2027-01", READ, independent=True)


def test_doubt_moves_a_score_near_its_end_by_less() -> None:
    errors = [uncertainty(percent, "2026-05", READ, independent=False) for percent in (50, 90, 99, 100)]

    assert [5, 1.8, 0.5, 0.5] == errors


def test_a_makers_old_score_counts_less_than_a_lower_one_measured_by_others() -> None:
    def quality(percent: float, published: str, *, independent: bool) -> float:
        error = uncertainty(percent, published, READ, independent=independent)
        return Entry("m", scores={"MMLU": Score("MMLU", percent, uncertainty=error)}).quality({"MMLU": 1})

    assert quality(60, "2024-01", independent=False) < quality(56, "2026-10", independent=True)
    assert quality(60, "2026-10", independent=False) > quality(56, "2026-10", independent=True)
