"""Which of many questions are read: those whose vectors have nearly the same signs, the nearest first."""

import pytest

from services.gateway.cache.semantic import signature


def turned(places: int) -> bytes:
    """The signature of a vector in which so many numbers are negative."""
    return signature.of([-0.5] * places + [0.5] * (signature.DIMENSIONS - places))


def test_the_nearest_come_first_and_no_more_than_a_few() -> None:
    others = [turned(places) for places in (200, 30, 0, 65, 20, 64, 10)]
    assert [2, 6, 4, 1] == signature.nearest(turned(0), others)
    assert [5] == signature.nearest(turned(0), [turned(65)] * 5 + [turned(64)])
    assert [] == signature.nearest(turned(0), [])


def test_another_vector_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 256"):
        signature.of([1.0])
