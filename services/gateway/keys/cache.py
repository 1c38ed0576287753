"""What a process knows of keys: in memory, by digest, always whole, and stale as soon as it changed."""

import time
from collections import OrderedDict
from dataclasses import dataclass

from services.gateway.keys.permissions import Caller

# How many keys are remembered, the ones used last; and how many digests that are no key's, the newest.
KNOWN = 100_000
UNKNOWN = 10_000
# How long an unknown key stays unknown without another look, in seconds.
UNKNOWN_S = 1.0


@dataclass(slots=True)
class KnownKey:
    """One secret of a key, and who holds it."""

    caller: Caller
    # Until when the secret is good, in seconds since 1970; None is for good.
    valid_until: float | None
    revoked: bool
    # The key, its user or its organization changed since this was read: look again.
    stale: bool = False


class KeyCache:
    """Keys that were met, and digests that turned out to be no key's."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, KnownKey] = OrderedDict()
        # By digest: until when it counts as unknown, by the monotonic clock.
        self._unknown: OrderedDict[bytes, float] = OrderedDict()
        self._changes = 0

    @property
    def changes(self) -> int:
        """How many changes there were; what was read from the database before the newest may be out of date."""
        return self._changes

    def get(self, digest: bytes) -> KnownKey | None:
        """What is known of a digest, stale or not."""
        known = self._known.get(digest)
        if known is not None:
            self._known.move_to_end(digest)
        return known

    def is_unknown(self, digest: bytes) -> bool:
        """Whether the database was asked a moment ago and had no such key."""
        return self._unknown.get(digest, 0.0) > time.monotonic()

    def put(self, digest: bytes, known: KnownKey) -> None:
        """Remember a key; the one that was not used for the longest time makes room."""
        self._known[digest] = known
        self._known.move_to_end(digest)
        if len(self._known) > KNOWN:
            self._known.popitem(last=False)

    def put_unknown(self, digest: bytes) -> None:
        """Remember for a moment that there is no such key."""
        self._known.pop(digest, None)
        self._unknown[digest] = time.monotonic() + UNKNOWN_S
        if len(self._unknown) > UNKNOWN:
            self._unknown.popitem(last=False)

    def change(self, subject: str, *, revoked: bool) -> None:
        """Trust nothing any more that counts for a subject such as `user:ID`."""
        self._changes += 1
        self._unknown.clear()
        for known in self._known.values():
            if any(one.name == subject for one in known.caller.subjects):
                known.stale = True
                known.revoked = known.revoked or revoked

    def change_all(self) -> None:
        """Trust nothing any more."""
        self._changes += 1
        self._unknown.clear()
        for known in self._known.values():
            known.stale = True
