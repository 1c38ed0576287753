"""What a process remembers of keys, and when it stops trusting that."""

from services.gateway.config.plans import Plan
from services.gateway.keys import cache
from services.gateway.keys.cache import KeyCache, KnownKey
from services.gateway.keys.permissions import Caller, Subject


def known(*subjects: str) -> KnownKey:
    caller = Caller("k", Plan("test"), subjects=tuple(map(Subject, subjects)))
    return KnownKey(caller, valid_until=None, revoked=False)


def test_a_change_makes_stale_what_counts_for_its_subject_and_nothing_else() -> None:
    keys = KeyCache()
    keys.put(b"a", known("key:a", "user:ann"))
    keys.put(b"b", known("key:b", "user:bob"))

    keys.change("user:ann", revoked=False)

    a, b = keys.get(b"a"), keys.get(b"b")
    assert a
    assert b
    assert (True, False, False) == (a.stale, a.revoked, b.stale)


def test_a_revocation_stays_one_whatever_change_comes_after_it() -> None:
    keys = KeyCache()
    keys.put(b"a", known("key:a"))

    keys.change("key:a", revoked=True)
    keys.change("key:a", revoked=False)

    assert (keys.get(b"a") or known()).revoked


def test_any_change_may_make_an_unknown_key_known() -> None:
    keys = KeyCache()
    keys.put_unknown(b"a")
    assert keys.is_unknown(b"a")

    keys.change("key:other", revoked=False)

    assert not keys.is_unknown(b"a")


def test_a_gap_makes_everything_stale() -> None:
    keys = KeyCache()
    keys.put(b"a", known("key:a"))
    before = keys.changes

    keys.change_all()

    assert (keys.get(b"a") or known()).stale
    # What is being read at this moment is stale too.
    assert keys.changes > before


def test_memory_is_bounded_and_keeps_what_is_used() -> None:
    keys = KeyCache()
    for number in range(cache.KNOWN):
        keys.put(number.to_bytes(4), known())
    keys.get((0).to_bytes(4))

    keys.put(b"new", known())

    assert keys.get((0).to_bytes(4))
    assert None is keys.get((1).to_bytes(4))
