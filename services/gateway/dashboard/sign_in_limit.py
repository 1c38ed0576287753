"""How often somebody may try to sign in: failed attempts are counted by address, in windows of a minute."""

import time
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

WINDOW_S = 60.0
# Failed attempts of one address in a window.
MOST = 10
# Addresses counted in one window; beyond them the oldest is forgotten.
MOST_ADDRESSES = 10_000
# What one customer of an IPv6 provider has, in bits.
NETWORK = 64


class SignInLimit:
    """Counts in this process' memory."""

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._ends = 0.0
        self._counts: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._counts)

    def wait_s(self, address: str) -> float:
        """How long an address must wait until its next attempt, in seconds; 0 when it may try."""
        left_s = self._ends - self._now()
        if left_s <= 0:
            return 0.0
        return left_s if self._counts.get(_network(address), 0) >= MOST else 0.0

    def failed(self, address: str) -> None:
        """Count an attempt with a wrong key."""
        now = self._now()
        if now >= self._ends:
            self._counts.clear()
            self._ends = now + WINDOW_S
        network = _network(address)
        if network not in self._counts and len(self._counts) >= MOST_ADDRESSES:
            del self._counts[next(iter(self._counts))]
        self._counts[network] = self._counts.get(network, 0) + 1


def _network(address: str) -> str:
    """What counts as one address."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    return str(parsed.ipv4_mapped or int(parsed) >> (128 - NETWORK))
