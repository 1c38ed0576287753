"""The state of a deployment, merged from the views of all executor replicas."""

import pytest

from services.gateway.health.deployments import Breaker, Deployment, Headroom, Report, State, merge

NOW = 1_700_000_000_000
CONFIGURED = {"d": ("model", "openai")}


def merged(*reports: Report) -> Deployment:
    [one] = merge(CONFIGURED, reports, NOW)
    return one


def left(remaining: int, resets: int = NOW + 60_000) -> tuple[Headroom, ...]:
    return (Headroom("rpm", 10, remaining, resets, by_provider=False),)


@pytest.mark.parametrize(
    ("reports", "state"),
    [
        ([], State.UNKNOWN),
        ([Report("d", "a")], State.OK),
        ([Report("d", "a", callable=False)], State.NO_KEY),
        # A replica that has the key is one that can call it.
        ([Report("d", "a", callable=False), Report("d", "b")], State.OK),
        ([Report("d", "a", last_error="server_error")], State.FAILING),
        ([Report("d", "a", breaker=Breaker.OPEN, rests_until_unix_ms=NOW + 1)], State.OPEN),
        ([Report("d", "a", breaker=Breaker.OPEN), Report("d", "b"), Report("d", "c")], State.OK),
        ([Report("d", "a", breaker=Breaker.HALF_OPEN)], State.HALF_OPEN),
        ([Report("d", "a", rests_until_unix_ms=NOW + 5000)], State.RESTING),
        ([Report("d", "a", rests_until_unix_ms=NOW - 1)], State.OK),
        ([Report("d", "a", headroom=left(0))], State.RESTING),
        ([Report("d", "a", headroom=left(0, NOW - 1))], State.OK),
    ],
)
def test_the_state_is_what_to_know_first(reports: list[Report], state: State) -> None:
    assert state is merged(*reports).state


def test_replicas_are_merged_as_selectors_take_them() -> None:
    one = merged(
        Report("d", "a", latency_ms=100, error_rate=0.5, in_flight=2, headroom=left(3)),
        Report("d", "b", latency_ms=300, error_rate=0.0, in_flight=1, headroom=left(1)),
        Report("d", "c"),
    )

    assert (one.model, one.provider) == ("model", "openai")
    # A replica that made no call says nothing about the latency.
    assert (one.latency_ms, one.in_flight) == (200, 3)
    assert one.error_rate == pytest.approx(1 / 6)
    assert one.headroom == left(1)
    assert one.replicas == {"a": Breaker.CLOSED, "b": Breaker.CLOSED, "c": Breaker.CLOSED}


def test_a_deployment_rests_until_the_last_reason_is_over() -> None:
    one = merged(Report("d", "a", rests_until_unix_ms=NOW + 5_000, headroom=left(0)))

    assert one.rests_until_unix_ms == NOW + 60_000


def test_a_minority_that_sees_the_breaker_open_does_not_make_it_rest() -> None:
    one = merged(
        Report("d", "a", breaker=Breaker.OPEN, rests_until_unix_ms=NOW + 5_000),
        Report("d", "b"),
        Report("d", "c"),
    )

    assert (one.breaker, one.rests_until_unix_ms) == (Breaker.CLOSED, 0)


def test_what_only_executors_know_comes_after_what_is_configured() -> None:
    found = merge(CONFIGURED, [Report("new", "a")], NOW)

    assert [(one.deployment, one.state, one.model) for one in found] == [
        ("d", State.UNKNOWN, "model"),
        ("new", State.OK, ""),
    ]
