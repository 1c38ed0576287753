"""The example for Alertmanager names alerts, labels and severities that the rules have."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest
import yaml

from tests import prometheus_rules

EXAMPLE = yaml.safe_load(prometheus_rules.RULES.with_name("alertmanager.yml").read_text())
ALERTS = prometheus_rules.rules("alert")
MATCHER = re.compile(r'(?P<label>\w+) (?P<how>=~|!~|!=|=) "(?P<value>[^"]*)"')
# As Alertmanager compares: an expression must match all of a label's value.
COMPARE: Mapping[str, Callable[[str, str], bool]] = {
    "=": lambda wanted, value: wanted == value,
    "!=": lambda wanted, value: wanted != value,
    "=~": lambda wanted, value: re.fullmatch(wanted, value) is not None,
    "!~": lambda wanted, value: re.fullmatch(wanted, value) is None,
}


def matched(matchers: Sequence[str]) -> set[str]:
    """The alerts that all of these match."""
    found = set(ALERTS)
    for text in matchers:
        matcher = MATCHER.fullmatch(text)
        assert matcher, f"no matcher of Alertmanager's: {text}"
        assert matcher["label"] in ("alertname", "severity"), text
        found = {
            name
            for name in found
            if COMPARE[matcher["how"]](
                matcher["value"], {"alertname": name, **ALERTS[name]["labels"]}[matcher["label"]]
            )
        }
    return found


def labels(name: str) -> set[str]:
    """The labels by which the expression of an alert adds up."""
    by = re.findall(r"\bby \(([\w, ]+)\)", ALERTS[name]["expr"])
    return {label.strip() for one in by for label in one.split(",")}


def routes(route: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield route
    for one in route.get("routes", ()):
        yield from routes(one)


def test_each_route_leads_some_alerts_to_a_receiver_that_there_is() -> None:
    receivers = {one["name"] for one in EXAMPLE["receivers"]}
    for route in routes(EXAMPLE["route"]):
        assert route["receiver"] in receivers
        assert matched(route.get("matchers", ()))


def test_what_is_critical_goes_the_quick_way_and_nothing_else_does() -> None:
    [critical] = EXAMPLE["route"]["routes"]
    names = {name for name, rule in ALERTS.items() if rule["labels"]["severity"] == "critical"}

    assert names == matched(critical["matchers"])
    assert set(ALERTS) > names


def test_alerts_are_grouped_by_labels_that_some_of_them_have() -> None:
    had = {"alertname"}.union(*map(labels, ALERTS))

    assert set(EXAMPLE["route"]["group_by"]) <= had


@pytest.mark.parametrize("rule", EXAMPLE["inhibit_rules"], ids=lambda rule: rule["source_matchers"][0])
def test_each_inhibition_is_of_one_alert_by_another_that_is_worse(rule: dict[str, Any]) -> None:
    [source] = matched(rule["source_matchers"])
    targets = matched(rule["target_matchers"])

    assert targets
    assert source not in targets
    assert "critical" == ALERTS[source]["labels"]["severity"]
    for name in (source, *targets) if "equal" in rule else ():
        # Alerts without the label would be equal in that, too: those of all providers would be silent.
        assert set(rule["equal"]) <= labels(name), name


def test_no_gateway_silences_everything_else() -> None:
    [rule] = [one for one in EXAMPLE["inhibit_rules"] if "LumniGatewayDown" in one["source_matchers"][0]]

    assert set(ALERTS) - {"LumniGatewayDown"} == matched(rule["target_matchers"])
