"""Wrong requests have a limit of their own."""

import pytest

from services.chassis import errors
from services.gateway.limits import mistakes
from services.gateway.limits.mistakes import MistakeLimit


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def err(limit: MistakeLimit, key: str, fault: errors.Fault, size: int = 0) -> None:
    with pytest.raises(type(fault)), limit.guarding(key) as attempt:
        attempt.size = size
        raise fault


def refused(limit: MistakeLimit, key: str) -> errors.Exhausted | None:
    try:
        with limit.guarding(key):
            return None
    except errors.Exhausted as fault:
        return fault


def test_too_many_mistakes_of_a_key_are_refused_until_the_window_ends() -> None:
    clock = Clock()
    limit = MistakeLimit(3, now=clock)
    for fault in (errors.Invalid("a"), errors.NotFound("b"), errors.TooLarge("c")):
        assert refused(limit, "k1") is None
        err(limit, "k1", fault)

    clock.now += 20
    found = refused(limit, "k1")
    assert found is not None
    assert ("TOO_MANY_MISTAKES", 40) == (found.reason, found.retry_after_s)
    assert refused(limit, "k2") is None
    clock.now += 41
    assert refused(limit, "k1") is None


def test_only_mistakes_count_that_nobody_else_counts() -> None:
    limit = MistakeLimit(1, now=Clock())
    for _ in range(10):
        assert refused(limit, "k1") is None
        err(limit, "k1", errors.Invalid("the provider says so", details=(object(),)))
        err(limit, "k1", errors.Unavailable("down"))
        err(limit, "k1", errors.Exhausted("wait"))

    assert refused(limit, "k1") is None


def test_a_large_mistake_counts_more() -> None:
    limit = MistakeLimit(17, now=Clock())
    err(limit, "k1", errors.Invalid("a"), size=16 * 2**20)

    assert refused(limit, "k1") is not None


def test_the_table_is_bounded_and_0_is_no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mistakes, "MOST_KEYS", 10)
    limit = MistakeLimit(0, now=Clock())
    for i in range(100):
        err(limit, f"k{i}", errors.Invalid("a"))
        assert refused(limit, f"k{i}") is None

    assert 10 == len(limit)
