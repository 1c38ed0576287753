"""Counts of one process."""

import pytest

from services.gateway.config.budgets import Budget
from services.gateway.config.plans import Rate
from services.gateway.keys.permissions import Subject
from services.gateway.limits.local import LocalCounts

# Longer than any test.
WINDOW_S = 1e9


@pytest.mark.parametrize(("rate", "kind"), [(Rate(rpm=2), "requests"), (Rate(tpm=20), "tokens")])
def test_what_is_counted_here_is_refused_beyond_the_limit(rate: Rate, kind: str) -> None:
    counts, who = LocalCounts(WINDOW_S), [Subject("key:a", rate)]

    answers = [counts.count(who, 10) for _ in range(3)]

    assert [None, None] == answers[:2]
    refusal = answers[2]
    assert refusal
    assert ("key:a", kind) == (refusal.subject, refusal.kind)
    allowance = refusal.requests if kind == "requests" else refusal.tokens
    assert {"limit": max(rate.rpm, rate.tpm), "remaining": 0} == allowance


def test_a_refusal_counts_for_no_subject() -> None:
    counts = LocalCounts(WINDOW_S)
    wide, narrow = Subject("organization:o", Rate(rpm=2)), Subject("key:a", Rate(tpm=5))

    assert counts.count([wide, narrow], 10)
    assert [None, None] == [counts.count([wide], 10) for _ in range(2)]


def test_money_and_parallel_requests_are_not_counted_here() -> None:
    who = [Subject("key:a", Rate(parallel=1), Budget(0)), Subject("user:u")]
    counts = LocalCounts(WINDOW_S)

    assert [None] * 5 == [counts.count(who, 10**9) for _ in range(5)]
