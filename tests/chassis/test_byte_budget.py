"""Whoever holds many bytes leaves room for others."""

from contextlib import ExitStack

import pytest

from services.chassis import errors
from services.chassis.byte_budget import ByteBudget, Lease


def filled(lease: Lease) -> int:
    """What a lease holds when it took all that it may, byte by byte."""
    while lease.take(1):
        pass
    return lease.held


def test_one_owner_alone_holds_three_quarters_and_leaves_room_for_the_next() -> None:
    budget = ByteBudget(1000)
    with budget.lease("a") as first, budget.lease("a") as second, budget.lease("b") as other:
        assert 750 == filled(first)
        assert not second.take(1)
        assert 187 == filled(other)


def test_what_an_owner_gave_back_it_may_take_again() -> None:
    budget = ByteBudget(1000)
    for _ in range(2):
        with budget.lease("a") as lease:
            assert 750 == filled(lease)
        assert 0 == budget.held


def test_owners_who_take_in_turns_end_with_the_same() -> None:
    budget = ByteBudget(1000)
    with ExitStack() as ends:
        leases = [ends.enter_context(budget.lease(owner)) for owner in "abc"]
        for _ in range(1000):
            for lease in leases:
                lease.take(1)
        assert [300, 300, 300] == [lease.held for lease in leases]


def test_a_refusal_says_whether_all_or_only_this_owner_holds_too_much() -> None:
    budget = ByteBudget(1000)
    with budget.lease("a") as first, budget.lease("b") as second:
        with pytest.raises(
            errors.Exhausted, match="bytes of requests of your organization, or of yours, are"
        ):
            first.claim(900, "requests")
        with pytest.raises(errors.Exhausted, match="bytes of requests are"):
            second.claim(1001, "requests")
        assert 0 == budget.held


def test_what_was_given_back_before_the_end_is_not_given_back_again() -> None:
    budget = ByteBudget(1000)
    with budget.lease("a") as lease, budget.lease("a") as other:
        lease.claim(500, "requests")
        lease.give_back()
        assert 750 == filled(other)
    assert 0 == budget.held


def test_without_an_owner_all_that_is_left_may_be_taken() -> None:
    budget = ByteBudget(1000)
    with budget.lease("a") as owned, budget.lease() as lease:
        assert owned.take(100)
        assert 900 == filled(lease)
