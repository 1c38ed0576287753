"""How many connections there may be: in all, and of one address.

Where there is no room, the connection that has waited longest for a request makes way for a new one; a connection whose
request is being served never does. So sockets that are opened and left alone shut nobody out.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address
from typing import Protocol

import prometheus_client

CLOSED = prometheus_client.Counter(
    "lumni_http_closed_connections_total",
    "Connections closed for want of room: new ones, and those that waited longest for a request.",
    ["which"],
)
# Who has one address of IPv6 mostly has all of its network.
NETWORK_BITS = 64


class Connection(Protocol):
    """What is counted."""

    def make_way(self) -> None:
        """Close, for another needs the slot."""


@dataclass(slots=True)
class _Group:
    count: int = 0
    # In the order in which they began to wait.
    waiting: dict[Connection, None] = field(default_factory=dict)


class Connections:
    """The connections of one process."""

    def __init__(self, most: int, most_of_one_address: int = 0) -> None:
        """Bound them.

        Args:
            most: In all.
            most_of_one_address: Of one address, or one network of IPv6; 0 is no bound.
        """
        self._most = most
        self._most_of_one = most_of_one_address or most
        self._all = _Group()
        self._of: defaultdict[str, _Group] = defaultdict(_Group)
        self._owners: dict[Connection, str] = {}

    def __len__(self) -> int:
        return len(self._owners)

    def enter(self, connection: Connection, address: str) -> bool:
        """Take a new connection in, which begins by waiting; False if there is no room."""
        owner = _network(address)
        if not (self._has_room(self._of[owner], self._most_of_one) and self._has_room(self._all, self._most)):
            self._forget(owner)
            CLOSED.labels("new").inc()
            return False
        self._owners[connection] = owner
        for group in (self._of[owner], self._all):
            group.count += 1
            group.waiting[connection] = None
        return True

    def leave(self, connection: Connection) -> None:
        """It is closed; one that was not taken in is nothing new."""
        owner = self._owners.pop(connection, None)
        if owner is None:
            return
        for group in (self._of[owner], self._all):
            group.count -= 1
            group.waiting.pop(connection, None)
        self._forget(owner)

    def serve(self, connection: Connection) -> None:
        """It has a request."""
        for group in self._groups(connection):
            group.waiting.pop(connection, None)

    def wait(self, connection: Connection) -> None:
        """Its request is answered."""
        for group in self._groups(connection):
            group.waiting[connection] = None

    def _groups(self, connection: Connection) -> tuple[_Group, ...]:
        owner = self._owners.get(connection)
        return () if owner is None else (self._of[owner], self._all)

    def _has_room(self, group: _Group, most: int) -> bool:
        if group.count < most:
            return True
        oldest = next(iter(group.waiting), None)
        if oldest is None:
            return False
        self.leave(oldest)
        CLOSED.labels("waiting").inc()
        oldest.make_way()
        return True

    def _forget(self, owner: str) -> None:
        if not self._of[owner].count:
            del self._of[owner]


def _network(address: str) -> str:
    """An address of IPv4, or the network of one of IPv6."""
    try:
        ip = ip_address(address)
    except ValueError:
        return address
    if isinstance(ip, IPv6Address):
        return str(ip.ipv4_mapped or IPv6Address(int(ip) >> (128 - NETWORK_BITS) << (128 - NETWORK_BITS)))
    return str(ip)
