"""How many connections there may be, and which make way."""

import pytest

from services.gateway.rest.connections import Connections


class One:
    """A connection that remembers whether it made way."""

    def __init__(self) -> None:
        self.closed = False

    def make_way(self) -> None:
        self.closed = True


def entered(connections: Connections, address: str, count: int) -> list[One]:
    ones = [One() for _ in range(count)]
    assert all(connections.enter(one, address) for one in ones)
    return ones


def test_who_waited_longest_makes_way() -> None:
    connections = Connections(3)
    first, second, third = entered(connections, "192.0.2.1", 3)
    connections.serve(first)
    connections.serve(second)
    connections.wait(second)
    entered(connections, "192.0.2.2", 1)

    assert [False, False, True] == [first.closed, second.closed, third.closed]
    assert 3 == len(connections)


def test_who_is_served_never_makes_way() -> None:
    connections = Connections(2)
    busy = entered(connections, "192.0.2.1", 2)
    for one in busy:
        connections.serve(one)

    assert not connections.enter(One(), "192.0.2.2")
    connections.leave(busy[0])
    assert connections.enter(One(), "192.0.2.2")
    assert not any(one.closed for one in busy)


@pytest.mark.parametrize(
    ("mine", "also_mine", "anothers"),
    [
        ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
        ("192.0.2.1", "::ffff:192.0.2.1", "::ffff:192.0.2.2"),
        ("2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1"),
        ("", "", "unix"),
    ],
)
def test_an_address_takes_the_places_of_its_own(mine: str, also_mine: str, anothers: str) -> None:
    connections = Connections(10, most_of_one_address=2)
    others = entered(connections, anothers, 2)
    own = [*entered(connections, mine, 1), *entered(connections, also_mine, 1)]
    entered(connections, mine, 5)

    assert not any(one.closed for one in others)
    assert all(one.closed for one in own)
    assert 4 == len(connections)


def test_nothing_is_kept_of_who_left() -> None:
    connections = Connections(100)
    for i in range(1000):
        one = One()
        assert connections.enter(one, f"2001:db8:{i:x}::1")
        connections.serve(one)
        connections.leave(one)
        connections.leave(one)
        connections.wait(one)

    assert 0 == len(connections)
    assert {} == vars(connections)["_of"]
