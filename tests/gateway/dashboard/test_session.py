"""Sessions: who gets one, how long it lasts, and that nobody else can make one."""

import base64
from dataclasses import dataclass

import pytest
from cryptography.fernet import InvalidToken, MultiFernet

from services.chassis.config import Secret, Secrets
from services.gateway.dashboard.session import LONGEST, Role, Session, Sessions
from services.gateway.dashboard.sign_in_limit import MOST, MOST_ADDRESSES, WINDOW_S, SignInLimit

KEYS = {Role.ADMIN: Secrets("admin-key"), Role.VIEWER: Secrets("viewer-key")}
SALT = Secrets("salt")
HOUR_S = 3600


@dataclass
class Clock:
    """A clock that only a test moves."""

    at: float = 1_790_000_000.0

    def __call__(self) -> float:
        return self.at


def opened(sessions: Sessions, key: str) -> Session:
    session = sessions.open(key)
    assert session is not None
    return session


@pytest.mark.parametrize(("key", "role"), [("admin-key", Role.ADMIN), ("viewer-key", Role.VIEWER)])
def test_a_key_opens_a_session_of_its_role(key: str, role: Role) -> None:
    sessions = Sessions(KEYS, SALT, HOUR_S)

    session = opened(sessions, key)

    assert role is session.role
    assert session == sessions.read(sessions.cookie(session))


@pytest.mark.parametrize("key", ["", "admin-ke", "admin-key ", "Admin-Key", "\ud800", "ключ"])
def test_no_other_key_opens_one(key: str) -> None:
    assert Sessions(KEYS, SALT, HOUR_S).open(key) is None


def test_a_role_without_a_key_has_no_sessions() -> None:
    sessions = Sessions({Role.ADMIN: Secrets("admin-key"), Role.VIEWER: Secrets("")}, SALT, HOUR_S)

    assert sessions.open("") is None
    assert sessions.open("viewer-key") is None


def test_two_sessions_have_different_tokens() -> None:
    sessions = Sessions(KEYS, SALT, HOUR_S)
    first, second = (opened(sessions, "admin-key") for _ in range(2))

    assert first.sent(first.token)
    assert not first.sent(second.token)
    assert not first.sent("")


def test_a_session_ends_with_its_time() -> None:
    clock = Clock()
    sessions = Sessions(KEYS, SALT, HOUR_S, now=clock)
    cookie = sessions.cookie(opened(sessions, "admin-key"))

    clock.at += HOUR_S
    assert sessions.read(cookie) is not None
    clock.at += 1
    assert sessions.read(cookie) is None


@pytest.mark.parametrize(
    "after",
    [
        Sessions({Role.ADMIN: Secrets("another"), Role.VIEWER: Secrets("viewer-key")}, SALT, HOUR_S),
        Sessions(KEYS, Secrets("another salt"), HOUR_S),
        # A viewer's key that becomes the admin's makes no viewer an admin, nor the other way round.
        Sessions({Role.ADMIN: Secrets("viewer-key"), Role.VIEWER: Secrets("admin-key")}, SALT, HOUR_S),
    ],
)
def test_a_session_ends_with_its_key(after: Sessions) -> None:
    before = Sessions(KEYS, SALT, HOUR_S)

    assert after.read(before.cookie(opened(before, "admin-key"))) is None


def test_a_session_goes_on_while_its_key_is_replaced_and_ends_when_that_is_taken_away() -> None:
    before = Sessions(KEYS, SALT, HOUR_S)
    both = Sessions({Role.ADMIN: Secrets("new-key,admin-key")}, Secrets("new salt,salt"), HOUR_S)
    after = Sessions({Role.ADMIN: Secrets("new-key")}, Secrets("new salt"), HOUR_S)
    old, new = opened(both, "admin-key"), opened(both, "new-key")

    assert both.read(before.cookie(opened(before, "admin-key"))) is not None
    assert (old, new) == (both.read(both.cookie(old)), both.read(both.cookie(new)))
    assert after.read(both.cookie(old)) is None
    assert new == after.read(both.cookie(new))


def test_a_changed_cookie_is_nobodys() -> None:
    sessions = Sessions(KEYS, SALT, HOUR_S)
    cookie = sessions.cookie(opened(sessions, "viewer-key"))
    body = bytearray(base64.urlsafe_b64decode(cookie))

    for place in range(len(body)):
        changed = bytearray(body)
        changed[place] ^= 1
        assert sessions.read(base64.urlsafe_b64encode(changed).decode()) is None
    for forged in ("", "admin", cookie[:-4], cookie + "A", "é" * 20, "A" * (LONGEST + 1)):
        assert sessions.read(forged) is None


def test_an_address_that_fails_too_often_waits_for_the_next_minute() -> None:
    clock = Clock()
    limit = SignInLimit(now=clock)
    for _ in range(MOST):
        assert 0 == limit.wait_s("192.0.2.1")
        limit.failed("192.0.2.1")

    clock.at += 10
    assert WINDOW_S - 10 == limit.wait_s("192.0.2.1")
    assert 0 == limit.wait_s("192.0.2.2")
    clock.at += WINDOW_S - 10
    assert 0 == limit.wait_s("192.0.2.1")


def test_an_ipv6_network_counts_as_one_address() -> None:
    limit = SignInLimit(now=Clock())
    for number in range(MOST):
        limit.failed(f"2001:db8:0:1::{number:x}")

    assert limit.wait_s("2001:db8:0:1:ffff::1") > 0
    assert 0 == limit.wait_s("2001:db8:0:2::1")


def test_addresses_are_counted_within_bounds() -> None:
    limit = SignInLimit(now=Clock())
    for number in range(MOST_ADDRESSES + 10):
        limit.failed(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")

    assert MOST_ADDRESSES == len(limit)


def test_what_belongs_to_a_sign_in_at_the_provider_is_encrypted_under_the_secret_and_the_salt() -> None:
    def sealed(secret: str, salt: str, purpose: bytes = b"p") -> MultiFernet:
        sessions = Sessions(KEYS, Secrets(salt), HOUR_S, provider_secret=Secret(secret))
        return sessions.provider_box(purpose)

    text = sealed("secret", "salt").encrypt(b"x")

    assert b"x" == sealed("secret", "salt").decrypt(text)
    for other in (sealed("another", "salt"), sealed("secret", "another"), sealed("secret", "salt", b"q")):
        with pytest.raises(InvalidToken):
            other.decrypt(text)
