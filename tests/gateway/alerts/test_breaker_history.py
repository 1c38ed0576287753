"""What is known of circuit breakers that are seen now and then."""

from services.gateway.alerts import breaker_history
from services.gateway.alerts.breaker_history import BreakerHistory

PROVIDERS = {"a1": "a", "a2": "a", "b1": "b"}


def test_a_provider_is_down_when_each_of_its_deployments_has_been_for_long() -> None:
    history = BreakerHistory(PROVIDERS)
    history.look({"a1": True, "a2": False, "b1": False}, 0)
    history.look({"a1": True, "a2": True, "b1": False}, 100)
    assert ["a1"] == history.down(300, 300)
    assert [] == history.providers_down(300, 300)

    assert ["a1", "a2"] == history.down(400, 300)
    assert ["a"] == history.providers_down(400, 300)
    # What can be called no more, for want of a key, counts no more.
    history.look({"a2": True, "b1": False}, 400)
    assert ["a"] == history.providers_down(400, 300)

    history.look({"a1": False, "a2": True, "b1": False}, 410)
    assert ["a2"] == history.down(410, 300)
    assert [] == history.providers_down(410, 300)
    # Opened anew, it has not been down for long.
    history.look({"a1": True, "a2": True, "b1": False}, 420)
    assert [] == history.providers_down(719, 300)


def test_a_deployment_of_no_known_provider_takes_none_down() -> None:
    history = BreakerHistory(PROVIDERS)
    history.look({"new": True}, 0)

    assert (["new"], []) == (history.down(300, 300), history.providers_down(300, 300))


def test_a_breaker_flaps_that_changes_more_often_than_that_within_the_time() -> None:
    history = BreakerHistory(PROVIDERS)
    # The first look is no change; then one each 10 s.
    for number in range(8):
        history.look({"a1": number % 2 == 1, "a2": True}, number * 10)
        assert [] == history.flapping(number * 10, 1800, 7)
    assert ["a1"] == history.flapping(70, 1800, 6)

    # The oldest change was at 10 s.
    assert ["a1"] == history.flapping(1810, 1800, 6)
    assert [] == history.flapping(1811, 1800, 6)
    history.flapping(9999, 1800, 6)
    assert {} == history._changes


def test_memory_is_bounded() -> None:
    history = BreakerHistory(PROVIDERS)
    for number in range(breaker_history.MOST_CHANGES + 100):
        history.look({"a1": number % 2 == 1}, number)

    assert breaker_history.MOST_CHANGES == len(history._changes["a1"])
