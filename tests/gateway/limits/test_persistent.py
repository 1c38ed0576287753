"""Who counts as persistently limited."""

import logging

import pytest

from services.gateway.limits import persistent
from services.gateway.limits.persistent import OVER_S, PERSISTENT_S, PersistentlyLimited


@pytest.fixture
def limited() -> PersistentlyLimited:
    return PersistentlyLimited()


def refuse(limited: PersistentlyLimited, subject: str, start: float, end: float) -> None:
    """A refusal every minute."""
    now = start
    while now <= end:
        limited.note(subject, now)
        now += 60


def test_a_burst_is_none(limited: PersistentlyLimited) -> None:
    refuse(limited, "user:u", 0, PERSISTENT_S - 60)

    assert 0 == limited.count("user", PERSISTENT_S)


def test_one_refused_every_minute_is_named_once_and_counted_until_it_is_over(
    limited: PersistentlyLimited, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        refuse(limited, "user:u", 0, 2 * PERSISTENT_S)

    assert ["user:u has been refused for 300 s"] == caplog.messages
    end = 2 * PERSISTENT_S
    assert (1, 0) == (limited.count("user", end), limited.count("key", end))
    assert 0 == limited.count("user", end + OVER_S + 1)


def test_pauses_begin_anew(limited: PersistentlyLimited) -> None:
    limited.note("user:u", 0)
    limited.note("user:u", PERSISTENT_S + OVER_S)

    assert 0 == limited.count("user", PERSISTENT_S + OVER_S)


def test_strangers_cannot_make_it_grow(limited: PersistentlyLimited, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(persistent, "MOST", 10)
    refuse(limited, "user:old", 0, PERSISTENT_S)
    for number in range(10):
        limited.note(f"key:{number}", PERSISTENT_S)

    assert 0 == limited.count("user", PERSISTENT_S)
    assert 10 == len(limited._spans)
