from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.limits.fair_share import SHARED_S, FairShare, State, Ticket
from services.gateway.limits.patience import Patience

YOUNG_S, STANDING_S = 5.0, 1.0


class Door:
    """A FairShare with a clock that is set, and what became of those who waited."""

    def __init__(self, most: int) -> None:
        self.shares = FairShare(most, Patience(YOUNG_S, STANDING_S))
        self.now = 0.0
        self.decided: list[Ticket] = []

    def enter(self, tenant: str, weight: int = 1) -> Ticket | None:
        made: list[Ticket] = []
        ticket = self.shares.enter(tenant, weight, self.now, lambda: self.decided.append(made[0]))
        if ticket is not None:
            made.append(ticket)
        return ticket

    def fill(self, tenant: str, count: int, weight: int = 1) -> list[Ticket]:
        tickets = [self.enter(tenant, weight) for _ in range(count)]
        return [ticket for ticket in tickets if ticket is not None]


def states(tickets: list[Ticket]) -> Counter[State]:
    return Counter(ticket.state for ticket in tickets)


def test_a_lone_tenant_may_use_all_and_no_more() -> None:
    door = Door(10)

    tickets = door.fill("greedy", 30)

    assert {State.RUNNING: 10, State.WAITING: 10} == states(tickets)
    assert door.shares.refuses("greedy", door.now)
    assert not door.shares.refuses("modest", door.now)
    assert door.enter("greedy") is None


def test_a_free_slot_goes_to_the_one_who_runs_the_fewest() -> None:
    door = Door(4)
    greedy = door.fill("greedy", 8)
    assert {State.RUNNING: 4, State.WAITING: 4} == states(greedy)
    modest = door.fill("modest", 3)
    # One is below the share of two and takes the reserve; the others wait, in place of two of the greedy tenant.
    assert [State.RUNNING, State.WAITING, State.WAITING] == [one.state for one in modest]

    for ticket in greedy[:2]:
        door.shares.leave(ticket)

    assert State.RUNNING is modest[1].state
    assert 2 == sum(one.state is State.WAITING for one in greedy)


def test_a_tenant_below_its_share_goes_on_at_once_however_many_long_requests_of_another_run() -> None:
    door = Door(80)
    door.fill("greedy", 200)

    for i in range(9):
        ticket = door.enter(f"modest-{i}")
        assert ticket is not None
        assert State.RUNNING is ticket.state


def test_a_lowered_limit_binds_those_at_their_share_first() -> None:
    door = Door(100)
    greedy = door.fill("greedy", 100)
    door.shares.limit = 20

    modest = door.fill("modest", 12)
    more = door.fill("greedy", 1)

    # The limit for two is ten each.
    assert {State.RUNNING: 10, State.WAITING: 2} == states(modest)
    assert [State.WAITING] == [one.state for one in more]
    for ticket in greedy[:90]:
        door.shares.leave(ticket)
    assert {State.RUNNING: 10, State.WAITING: 2} == states(modest)
    door.shares.leave(greedy[90])
    assert [State.RUNNING] == [one.state for one in more]


def test_a_raised_limit_serves_those_who_wait() -> None:
    door = Door(10)
    door.shares.limit = 1
    tickets = door.fill("one", 2)
    assert [State.RUNNING, State.WAITING] == [one.state for one in tickets]

    door.shares.limit = 2

    assert [State.RUNNING, State.RUNNING] == [one.state for one in tickets]
    assert [tickets[1]] == door.decided


def test_the_longest_queue_loses_its_newest_to_a_tenant_with_a_shorter_one() -> None:
    door = Door(4)
    greedy = door.fill("greedy", 8)
    first, second = door.fill("modest", 2)

    assert State.RUNNING is first.state
    assert State.WAITING is second.state
    assert State.OVER is greedy[-1].state
    assert [greedy[-1]] == door.decided
    assert 4 == door.shares.waiting
    # It is over; whoever waited for it may still say so.
    door.shares.leave(greedy[-1])
    assert 4 == door.shares.waiting


def test_as_many_wait_in_a_young_queue_as_may_ever_run_and_until_it_stands() -> None:
    door = Door(20)
    door.shares.limit = 4

    tickets = door.fill("one", 30)

    assert {State.RUNNING: 4, State.WAITING: 20} == states(tickets)
    assert {YOUNG_S} == {ticket.until for ticket in tickets if ticket.state is State.WAITING}


def test_no_more_wait_in_a_queue_that_stands_than_may_run_and_not_for_long() -> None:
    door = Door(20)
    door.shares.limit = 4
    tickets = door.fill("one", 4 + 4)
    door.now = YOUNG_S

    assert door.shares.refuses("one", door.now)
    assert door.enter("one") is None
    door.shares.leave(tickets[0])
    assert not door.shares.refuses("one", door.now)
    late = door.enter("one")

    assert late is not None
    assert YOUNG_S + STANDING_S == late.until


def test_no_more_wait_in_a_queue_that_stands_than_one_tenant_may_run() -> None:
    door = Door(40)
    door.shares.limit_of_one = 4
    door.fill("one", 4 + 1)
    door.now = YOUNG_S

    assert {State.WAITING: 3} == states(door.fill("one", 10))


def test_a_queue_that_is_served_empty_is_young_again() -> None:
    door = Door(20)
    door.shares.limit = 4
    tickets = door.fill("one", 4 + 2)
    door.now = YOUNG_S
    for ticket in tickets[:2]:
        door.shares.leave(ticket)

    again = door.fill("one", 10)

    assert {State.WAITING: 10} == states(again)
    assert {2 * YOUNG_S} == {ticket.until for ticket in again}


def test_a_queue_that_is_empty_because_all_gave_up_goes_on_to_stand() -> None:
    door = Door(20)
    door.shares.limit = 4
    tickets = door.fill("one", 4 + 2)
    door.now = YOUNG_S
    for ticket in tickets[4:]:
        door.shares.leave(ticket)

    again = door.fill("one", 10)

    assert {State.WAITING: 4} == states(again)
    assert {YOUNG_S + STANDING_S} == {ticket.until for ticket in again}


def test_a_queue_stands_for_the_tenant_that_filled_it_alone() -> None:
    door = Door(20)
    door.shares.limit = 4
    door.fill("greedy", 30)
    door.now = YOUNG_S

    modest = door.fill("modest", 5)

    # Two are its share, and the others wait in place of the greedy tenant's newest.
    assert {State.RUNNING: 2, State.WAITING: 3} == states(modest)
    assert {2 * YOUNG_S} == {ticket.until for ticket in modest if ticket.state is State.WAITING}


def test_shares_follow_the_weights() -> None:
    door = Door(12)
    running = [*door.fill("heavy", 24, weight=3), *door.fill("light", 24)]
    for _ in range(200):
        oldest = next(one for one in running if one.state is State.RUNNING)
        door.shares.leave(oldest)
        running.remove(oldest)
        again = door.enter(oldest.tenant, 3 if oldest.tenant == "heavy" else 1)
        running += [again] if again else []

    held = Counter(one.tenant for one in running if one.state is State.RUNNING)

    assert 9 == pytest.approx(held["heavy"], abs=1)
    assert 3 == pytest.approx(held["light"], abs=1)


def test_who_gives_up_waiting_gives_the_place_in_the_queue_back() -> None:
    door = Door(1)
    running, waiting = door.fill("one", 2)
    assert door.enter("one") is None

    door.shares.leave(waiting)

    again = door.enter("one")
    assert again is not None
    door.shares.leave(running)
    assert State.RUNNING is again.state
    assert [again] == door.decided


def test_one_tenant_runs_no_more_than_its_own_limit_and_others_go_on() -> None:
    door = Door(40)
    door.shares.limit_of_one = 4
    greedy = door.fill("greedy", 12)
    heavy = door.fill("heavy", 12, weight=2)

    assert {State.RUNNING: 4, State.WAITING: 8} == states(greedy)
    assert {State.RUNNING: 8, State.WAITING: 4} == states(heavy)
    assert 4 == door.shares.largest()
    assert door.shares.is_at_share("greedy")
    assert {State.RUNNING: 3} == states(door.fill("modest", 3))
    door.shares.leave(greedy[0])
    assert 4 == states(greedy)[State.RUNNING]

    door.shares.limit_of_one = 6
    assert 6 == states(greedy)[State.RUNNING]


def test_slots_are_shared_while_requests_of_several_tenants_come() -> None:
    door = Door(10)
    door.fill("a", 3)
    assert not door.shares.is_shared(door.now + SHARED_S)

    door.now = 10
    door.fill("b", 1)
    door.fill("a", 1)
    assert door.shares.is_shared(door.now)

    door.now += SHARED_S
    door.fill("a", 1)
    assert not door.shares.is_shared(door.now)


def test_nobody_is_remembered_who_has_no_request() -> None:
    door = Door(1)
    tickets = door.fill("one", 2) + door.fill("two", 1)
    for ticket in tickets:
        door.shares.leave(ticket)

    assert (0, 0, {}, {}, 0) == (
        door.shares.running,
        door.shares.waiting,
        door.shares._tenants,
        door.shares._waiting,
        door.shares._weights,
    )


@given(
    st.integers(1, 12),
    st.lists(
        st.tuples(st.sampled_from(["enter", "leave", "limit", "time"]), st.integers(0, 50)), max_size=200
    ),
)
def test_bounds_hold_and_no_slot_is_idle_while_somebody_waits(
    most: int, steps: list[tuple[str, int]]
) -> None:
    door, tickets = Door(most), []
    for step, number in steps:
        if step == "enter":
            name = f"tenant-{number % 5}"
            is_refused = door.shares.refuses(name, door.now)
            ticket = door.enter(name, 1 + number % 5)
            assert not (is_refused and ticket)
            tickets += [ticket] if ticket else []
        elif step == "leave" and tickets:
            door.shares.leave(tickets.pop(number % len(tickets)))
        elif step == "limit":
            door.shares.limit = 1 + number % most
        elif step == "time":
            door.now += number / 10
        seen = states(tickets)
        assert (door.shares.running, door.shares.waiting) == (seen[State.RUNNING], seen[State.WAITING])
        assert door.shares.running <= most + -(-most // 8)
        assert door.shares.waiting <= most
        assert not door.shares.waiting or door.shares.running >= door.shares.limit


@given(st.integers(2, 40), st.integers(1, 9))
def test_no_tenant_starves_beside_one_that_always_wants_more(most: int, others: int) -> None:
    door = Door(most)
    running = door.fill("greedy", 2 * most)
    waits = {name: ticket for i in range(others) if (ticket := door.enter(name := f"modest-{i}"))}

    # Each of the slots that were taken before is freed once, and the greedy tenant asks again each time.
    for _ in range(2 * most):
        oldest = next(one for one in running if one.state is State.RUNNING)
        door.shares.leave(oldest)
        running.remove(oldest)
        running += door.fill("greedy", 1)

    assert all(ticket.state is State.RUNNING for ticket in waits.values())
